"""The error of a pipeline config, which networks and the OD API's side raise as well as those who read the config."""


class ConfigError(ValueError):
    """A pipeline config that cannot be used: the message names file, key, value and the way out."""
