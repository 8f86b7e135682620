#!/usr/bin/env python3
"""No C function longer than 70 lines, no source file longer than 800. Argument: the source root."""
import sys

import csource

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
FOLDERS = csource.LAYERS + ("tests", "conformance", "tools")


def check(root):
    faults = []
    for path in csource.files(root, FOLDERS, csource.C_ENDINGS + (".py", ".sh")):
        text = csource.read(root, path)
        lines = text.count("\n")
        if lines > FILE_LINES_MAX:
            faults.append(f"{path}: {lines} lines, at most {FILE_LINES_MAX}")
        if not path.endswith((".c", ".h")):
            continue
        for name, first, last in csource.functions(text):
            length = last - first + 1
            if length > FUNCTION_LINES_MAX:
                faults.append(f"{path}:{first}: {name}() has {length} lines, "
                              f"at most {FUNCTION_LINES_MAX}")
    return faults


if __name__ == "__main__":
    sys.exit(csource.report("length", check(sys.argv[1])))
