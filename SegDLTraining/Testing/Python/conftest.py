"""Makes the fixtures of the host known to the tests of this folder."""

from host.fixtures import *  # noqa: F403
