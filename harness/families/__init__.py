"""The decoder families that methods take, a file each, named as transformers names the model type.

No torch.
"""
