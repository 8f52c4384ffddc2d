"""`python -m landline` is `landline`."""

import sys

from landline.cli import main

if __name__ == "__main__":
    sys.exit(main())
