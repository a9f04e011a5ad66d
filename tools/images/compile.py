"""Compiles the modules of an image: compile.py ROOT LIST OUT.

LIST names them by their paths in the image, one per line. The image's files are
in ROOT; the bytecode is written below OUT, at its path in the image. Python
won't check whether a source is newer, since neither changes in an image.
"""

import importlib.util
import os
import py_compile
import sys

root, names, out = sys.argv[1:]
failed = []
for name in open(names).read().split("\n"):
    if not name:
        continue
    target = out + importlib.util.cache_from_source(name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        py_compile.compile(
            root + name, target, dfile=name, doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError:
        failed.append(name)  # templates, and modules for other versions
print(len(failed), "not compiled:", *failed[:20])
if len(failed) > 50:
    sys.exit("too many modules could not be compiled")
