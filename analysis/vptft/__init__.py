"""When and why: visual prompt tuning or full finetuning.

The rooms, from the ground up: ``evidence``, ``storage``, ``provenance`` and ``errors``; ``models`` and ``data``;
``features`` and ``checkpoints``; ``tuning``; ``when`` and ``why``; ``report``; ``cli``. A room imports only
what lies below it. Importing the package loads none of them.
"""

from importlib.metadata import version

__version__ = version("vptft-analyze")
