"""What makes a compressed model better again: training loop, fine-tuning with or without distillation, least-squares refit."""
