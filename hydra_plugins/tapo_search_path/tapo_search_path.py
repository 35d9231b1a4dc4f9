"""Lets any Hydra application find TAPO's config groups, so that `+tapo=...` works with verl's own entry points."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class TapoSearchPathPlugin(SearchPathPlugin):
    """Appends `tapo.conf` to the search path; Hydra discovers this class in the namespace package `hydra_plugins`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append, so that a config of the application always wins over one of ours."""
        search_path.append(provider="tapo", path="pkg://tapo.conf")
