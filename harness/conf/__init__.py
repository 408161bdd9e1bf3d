"""Default configuration and profiles, composed by Hydra."""
