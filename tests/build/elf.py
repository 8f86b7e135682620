#!/usr/bin/env python3
"""The program is hardened, read from its bytes: position-independent, all relocations read-only
before main, no executable stack, stack protector and checked libc calls in use, no search path.

Arguments: the program, then "fortified" when the build asked for it.
"""
import struct
import sys

ET_DYN = 3
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 3, 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_RPATH, DT_TEXTREL, DT_FLAGS = 5, 6, 10, 15, 22, 30
DT_BIND_NOW, DT_RUNPATH, DT_FLAGS_1 = 24, 29, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 8, 1, 0x08000000
SYMBOL_SIZE = 24


class Elf:
    """The program headers, dynamic entries and dynamic symbol names of a 64-bit ELF file."""

    def __init__(self, data):
        if data[:5] != b"\x7fELF\x02":
            raise ValueError("not a 64-bit ELF file")
        self.data = data
        self.order = "<" if data[5] == 1 else ">"
        self.type = self.unpack("H", 16)[0]
        offset = self.unpack("Q", 32)[0]
        size, count = self.unpack("HH", 54)
        self.headers = [self.unpack("IIQQQQQQ", offset + i * size) for i in range(count)]
        self.dynamic = self.read_dynamic()

    def unpack(self, form, at):
        return struct.unpack_from(self.order + form, self.data, at)

    def of_type(self, wanted):
        return [h for h in self.headers if h[0] == wanted]

    def file_offset(self, address):
        for _, _, offset, virtual, _, in_file, _, _ in self.of_type(PT_LOAD):
            if virtual <= address < virtual + in_file:
                return address - virtual + offset
        raise ValueError(f"address {address:#x} is not in the file")

    def read_dynamic(self):
        found = {}
        for header in self.of_type(PT_DYNAMIC):
            for at in range(header[2], header[2] + header[5], 16):
                tag, value = self.unpack("QQ", at)
                if tag == 0:
                    break
                found[tag] = value
        return found

    def symbols(self):
        """Names in the dynamic symbol table, which on this system ends where its strings begin."""
        names = self.file_offset(self.dynamic[DT_STRTAB])
        first = self.file_offset(self.dynamic[DT_SYMTAB])
        found = set()
        for at in range(first, names - SYMBOL_SIZE + 1, SYMBOL_SIZE):
            begin = names + self.unpack("I", at)[0]
            found.add(self.data[begin:self.data.index(b"\0", begin)].decode())
        return found


def checks(elf, fortified):
    """Yields (what is wanted, whether it is so)."""
    flags, flags_1 = elf.dynamic.get(DT_FLAGS, 0), elf.dynamic.get(DT_FLAGS_1, 0)
    stack, symbols = elf.of_type(PT_GNU_STACK), elf.symbols()
    yield "position-independent executable", (elf.type == ET_DYN and elf.of_type(PT_INTERP) != []
                                              and flags_1 & DF_1_PIE != 0)
    yield "GNU_RELRO segment", elf.of_type(PT_GNU_RELRO) != []
    yield "BIND_NOW", (DT_BIND_NOW in elf.dynamic or flags & DF_BIND_NOW != 0
                       or flags_1 & DF_1_NOW != 0)
    yield "GNU_STACK not executable", len(stack) == 1 and stack[0][1] & PF_X == 0
    yield "no segment both writable and executable", not any(
        h[1] & PF_X and h[1] & PF_W for h in elf.of_type(PT_LOAD))
    yield "no relocation in the text", DT_TEXTREL not in elf.dynamic
    yield "no RPATH or RUNPATH", DT_RPATH not in elf.dynamic and DT_RUNPATH not in elf.dynamic
    yield "stack protector", "__stack_chk_fail" in symbols
    if fortified:
        yield "checked libc calls", any(s.startswith("__") and s.endswith("_chk") for s in symbols)


def main(program, *options):
    with open(program, "rb") as opened:
        elf = Elf(opened.read())
    results = list(checks(elf, "fortified" in options))
    print(f"1..{len(results)}")
    for number, (wanted, true) in enumerate(results, 1):
        print(f"{'ok' if true else 'not ok'} {number} - {wanted}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
