"""Default configuration and profiles, each profile over config.yaml."""
