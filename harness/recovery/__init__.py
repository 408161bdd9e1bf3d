"""What makes a compressed model better again.

Training loop, fine-tuning with or without distillation, least-squares refit.
"""
