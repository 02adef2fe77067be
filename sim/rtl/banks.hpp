// Banks of a DRAM channel with open rows: when an access has its data on the data bus.
//
// Times are in units of which a core cycle has CYCLE; so they are exact for any clock. Accesses are served in the order
// of `serve`, one after the other on the data bus. The contract, for an access that arrives at time t:
//
// * Address = row : bank : column. A column is a byte of a row of `row_bytes`; an access belongs to the row of its first
//   byte. A bank keeps its row open until an access to another row, or a refresh.
// * Row hit: the column command may go out at t. Row miss: precharge (after tRAS since the activate, tRTP since the last
//   read command, tWR since the last data written), activate tRP later, column command tRCD later. A closed bank needs no
//   precharge. An activate keeps tRRD from the one before and tFAW from the fourth before. Precharge and activate do not
//   wait for the accesses before, if those use other banks.
// * Data come `read_latency` or `write_latency` after the column command, not before the bus is free; after writes, a
//   read command waits for tWTR after their last data; after reads, the bus rests for tRTW.
// * The bus moves whole bursts of `burst_bytes` in `burst_time`; those that an access uses in part count in full.
// * A refresh of all banks is due at every multiple of tREFI. It goes before the first access that arrives or finds the
//   bus free only then or later: all rows close, as a row miss would, and tRP (all banks) + tRFC later banks may be
//   activated.
//
// There is no delay of a controller, and commands never wait for each other's slots on the command bus.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

// Mirrored by sim/dram.py; no banks: the DRAM has a fixed latency and bandwidth.
struct BankTiming {
    uint64_t banks, row_bytes, burst_bytes, burst_time, read_latency, write_latency, rcd, rp, rp_all, ras, rrd, faw,
        rtp, wr, wtr, rtw, refi, rfc;
};

class Banks {
public:
    static constexpr uint64_t CYCLE = 1000000;

    explicit Banks(const BankTiming& timing = BankTiming()) : t_(timing) { reset(); }

    bool exist() const { return t_.banks; }

    // All rows are closed, no time has passed.
    void reset() {
        banks_.assign(t_.banks, Bank());
        std::fill(activates_, activates_ + 4, Earliest());
        due_ = t_.refi;
        free_ = 0;
        used_ = wrote_ = false;
    }

    // Return when the first byte is on the bus, for an access that arrives at time `at`.
    uint64_t serve(uint64_t at, uint64_t address, uint64_t bytes, bool write) {
        while (due_ <= std::max(at, free_)) refresh();
        const uint64_t row = address / t_.row_bytes / t_.banks;
        Bank& bank = banks_[address / t_.row_bytes % t_.banks];
        if (!bank.open || bank.row != row) activate(bank, row, at);
        const uint64_t latency = write ? t_.write_latency : t_.read_latency;
        uint64_t command = std::max(at, bank.command);
        if (used_ && wrote_ && !write) command = std::max(command, free_ + t_.wtr);
        const uint64_t start = std::max(command + latency, free_ + (used_ && write && !wrote_ ? t_.rtw : 0));
        const uint64_t bursts = (address % t_.burst_bytes + bytes + t_.burst_bytes - 1) / t_.burst_bytes;
        free_ = start + bursts * t_.burst_time;
        used_ = true;
        wrote_ = write;
        bank.precharge = std::max(bank.precharge, write ? free_ + t_.wr : free_ - t_.burst_time - latency + t_.rtp);
        return start;
    }

    // How long `bytes` of an access are on the bus.
    uint64_t length(uint64_t bytes) const { return bytes * t_.burst_time / t_.burst_bytes; }

private:
    // A time before which something cannot happen; `set` once there is one.
    struct Earliest {
        bool set = false;
        uint64_t time = 0;
        uint64_t after(uint64_t delay) const { return set ? time + delay : 0; }
    };
    struct Bank {
        bool open = false;
        uint64_t row = 0;
        uint64_t command = 0, precharge = 0, activate = 0; // the earliest times of these commands
    };

    BankTiming t_;
    std::vector<Bank> banks_;
    Earliest activates_[4]; // the last four, the latest first
    uint64_t due_ = 0, free_ = 0;
    bool used_ = false, wrote_ = false; // the bus was; the last access was a write

    void activate(Bank& bank, uint64_t row, uint64_t at) {
        if (bank.open) bank.activate = std::max(at, bank.precharge) + t_.rp;
        const uint64_t time = std::max({at, bank.activate, activates_[0].after(t_.rrd), activates_[3].after(t_.faw)});
        std::copy_backward(activates_, activates_ + 3, activates_ + 4);
        activates_[0] = {true, time};
        bank.open = true;
        bank.row = row;
        bank.command = time + t_.rcd;
        bank.precharge = time + t_.ras;
    }

    void refresh() {
        uint64_t precharge = due_;
        bool open = false;
        for (const Bank& bank : banks_) {
            open |= bank.open;
            precharge = std::max(precharge, bank.open ? bank.precharge : bank.activate);
        }
        const uint64_t end = precharge + (open ? t_.rp_all : 0) + t_.rfc;
        for (Bank& bank : banks_) bank = Bank{false, 0, 0, 0, end};
        due_ += t_.refi;
    }
};
