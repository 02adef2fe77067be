// Fields of the instruction words; `constants.hpp` is written by build.py from the layouts in hw/isa.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

struct Field {
    unsigned offset, width; // bits of the instruction
};

#include "constants.hpp"

struct Instruction {
    const uint8_t* bytes = nullptr;
    uint32_t index = 0;
    unsigned opcode = 0, unit = 0;
    unsigned read_banks = 0, write_banks = 0;
    uint32_t waits[UNITS] = {};

    Instruction() = default;
    // `banks`: mask of those that exist.
    Instruction(const uint8_t* bytes, uint32_t index, unsigned banks) : bytes(bytes), index(index) {
        const Instruction& i = *this;
        opcode = i[HEADER_OPCODE];
        unit = UNIT_OF[opcode];
        read_banks = i[HEADER_RD_BANKS] & banks;
        write_banks = i[HEADER_WR_BANKS] & banks;
        waits[UNIT_LOAD] = i[HEADER_WAIT_LOAD];
        waits[UNIT_COMPUTE] = i[HEADER_WAIT_COMPUTE];
        waits[UNIT_VECTOR] = i[HEADER_WAIT_VECTOR];
        waits[UNIT_STORE] = i[HEADER_WAIT_STORE];
    }

    // Read without sign; fields are little endian and at most 32 bits wide.
    uint32_t operator[](Field field) const {
        const unsigned first = field.offset / 8;
        uint64_t word = 0;
        std::memcpy(&word, bytes + first, std::min(8u, INSTR_BYTES - first));
        return word >> field.offset % 8 & ((uint64_t(1) << field.width) - 1);
    }

    // Whether it does not exist or one of its loops has no rounds: the core would stop with an error.
    bool empty() const {
        const Instruction& i = *this;
        switch (opcode) {
        case OPCODE_LOAD:
        case OPCODE_STORE: return !i[TRANSFER_ROWS] || !i[TRANSFER_ROW_WORDS];
        case OPCODE_COMPUTE:
            return !i[COMPUTE_KW] || !i[COMPUTE_KH] || !i[COMPUTE_BLOCKS] || !i[COMPUTE_GROUPS] || !i[COMPUTE_OUT_W]
                || !i[COMPUTE_OUT_H] || (i[COMPUTE_FIR] && (!i[COMPUTE_WALK_W] || !i[COMPUTE_WALK_H]));
        case OPCODE_POOL:
            if (!i[POOL_KW] || !i[POOL_KH]) return true;
            break;
        case OPCODE_REQUANT:
            if (!i[REQUANT_GROUPS]) return true;
            break;
        case OPCODE_ADD:
        case OPCODE_MUL:
        case OPCODE_TABLE: break;
        default: return true;
        }
        return !i[REQUANT_OUT_W] || !i[REQUANT_OUT_H]; // at the same place in all vector instructions
    }
};
