"""``python -m host script.py -- arguments``: see :mod:`host.script`."""

import sys

from host.script import main

sys.exit(main(sys.argv[1:]))
