// Fetch, load and store at the core's AXI port, and the DRAM behind it.
//
// The address sides of the units are clocked in each cycle in which one of them moves. The data sides pass a stretch of
// cycles in which no wire changes at once, when it ends: one of them has something new, or the address sides have.
#pragma once

#include "../rtl/port.hpp"
#include "instruction.hpp"
#include "transfers.hpp"

class Bus {
public:
    using Dram = DramPort<WORD_BYTES, false>;

    // `program`: of `count` instructions at DRAM byte `address`; `step_all`: pass every cycle by itself.
    Bus(const Instruction* program, uint32_t count, uint32_t address, unsigned outstanding, unsigned fetch_bursts,
        bool step_all)
        : fetch_(WORD_BYTES, program, count, address), load_(WORD_BYTES, outstanding), store_(WORD_BYTES, outstanding),
          arbiter_(outstanding + fetch_bursts), step_all_(step_all) {}

    // Begin with cycle `now`, of which 0 is the first of the DRAM.
    void begin(uint64_t now, uint32_t latency, uint32_t bytes_per_cycle, const BankTiming& banks) {
        dram_.configure(latency, bytes_per_cycle, banks, 0, 0);
        while (dram_.cycle() < now) dram_.clock({});
        from_ = now;
        look_at_addresses();
        look_at_data();
    }

    // What the control sees. The instruction that fetch offers, or null.
    const Instruction* offered() const { return fetch_.out.valid() ? fetch_.out.front() : nullptr; }
    bool fetching() const { return fetch_.busy(); }
    bool load_ready() const { return load_.start_ready(); }
    bool store_ready() const { return store_.start_ready(); }
    bool load_done() const { return load_.done; } // also the release
    bool store_done() const { return store_.done; }
    bool store_release() const { return store_.release(); }
    bool pulses() const { return load_.done || store_.done || store_.release(); }
    // Whether a word passes in each cycle until `last`, and the last cycle before `now` in which one has.
    bool moves() const { return data_.read || data_.written; }
    uint64_t moved(uint64_t now) const { return moves() && now > dram_.cycle() ? now - 1 : moved_; }
    // The last cycle until which no wire changes.
    uint64_t last() const { return addresses_.move ? from_ : data_.last; }

    // End what ends before cycle `limit`, until the control sees something else or cycle `quiet` comes, up to which there
    // may be no word; both are after the current one. Returns the first cycle that has not passed.
    uint64_t run(uint64_t limit, uint64_t quiet) {
        quiet = std::min(quiet, limit);
        const unsigned before = levels();
        while (from_ < quiet) {
            const uint64_t end = moves() ? limit : quiet;
            if (last() >= end) return end;
            clock(last(), nullptr, nullptr, false);
            if (levels() != before || pulses()) break;
        }
        return from_;
    }

    // End the cycles until `now`, at most `last`. `load`, `store`: instructions that those units take in that cycle, or
    // null; `delivered`: the control takes the one that is offered.
    void clock(uint64_t now, const Instruction* load, const Instruction* store, bool delivered) {
        if (load_.busy()) load_busy += now + 1 - from_;
        if (store_.busy()) store_busy += now + 1 - from_;
        from_ = now + 1;
        const AddressWires& a = addresses_;
        const bool data = now == data_.last || (a.ar && !dram_.read_waits()) || (a.aw && !dram_.write_waits())
            || (a.store_issues && !store_.waits()) || step_all_;
        if (data) {
            clock_data(now + 1 - dram_.cycle());
        } else {
            if (a.ar) dram_.take_read(data_.master.ar, now);
            if (a.aw) dram_.take_write_address(data_.master.aw, now);
        }
        if (a.move || load || store || delivered) clock_address(load, store, delivered);
        look_at_addresses();
        if (data) look_at_data();
    }

    uint64_t load_busy = 0, store_busy = 0, read = 0, written = 0; // cycles, and words

private:
    struct AddressWires {
        bool move;                      // a register of the address sides changes
        bool asked, to_load;            // the arbiter takes an address, that of the load unit
        bool ar, aw;                    // DRAM does
        bool load_issues, store_issues; // a burst begins
    };
    struct DataWires {
        Dram::Master master;
        bool for_fetch, for_load; // whose beat is offered
        bool read, written, response;
        bool fetch_moves, load_moves, store_moves;
        uint64_t last; // cycle in which no wire has changed
    };

    Fetch fetch_;
    Load load_;
    Store store_;
    Arbiter arbiter_;
    Dram dram_; // whose cycle is the one that the data sides have come to
    const bool step_all_;
    uint64_t from_ = 0, moved_ = 0; // the first cycle that is not ended, the last one with a word
    AddressWires addresses_ = {};
    DataWires data_ = {};

    unsigned levels() const { return fetch_.out.valid() | load_ready() << 1 | store_ready() << 2; }

    void clock_data(uint64_t cycles) {
        const DataWires& d = data_;
        const bool read_last = d.read && dram_.ends(cycles);
        if (d.read) read += cycles;
        if (d.written) written += cycles;
        if (moves()) moved_ = from_ - 1;
        dram_.clock(d.master, cycles);
        if (d.fetch_moves) fetch_.clock_data(cycles);
        if (d.load_moves) load_.clock_data(d.for_load, cycles);
        if (d.store_moves) store_.clock_data(d.written, d.response, cycles);
        if (read_last) arbiter_.clock_data();
    }

    void clock_address(const Instruction* load, const Instruction* store, bool delivered) {
        const AddressWires& a = addresses_;
        const Address address = a.to_load ? load_.address.front() : fetch_.address.front();
        fetch_.clock_address(a.asked && !a.to_load, delivered);
        load_.clock_address(load, a.load_issues, a.asked && a.to_load);
        store_.clock_address(store, a.store_issues, a.aw);
        arbiter_.clock_address(a.asked ? &address : nullptr, a.to_load, a.ar);
    }

    // Find the wires of cycle `from_`.
    void look_at_addresses() {
        AddressWires& a = addresses_;
        const bool fetch_asks = fetch_.address.valid(), load_asks = load_.address.valid();
        a.to_load = arbiter_.to_load(fetch_asks, load_asks);
        a.asked = (fetch_asks || load_asks) && arbiter_.room();
        present(data_.master.ar, arbiter_.address);
        present(data_.master.aw, store_.address);
        a.ar = data_.master.ar.valid && dram_.pins().arready;
        a.aw = data_.master.aw.valid && dram_.pins().awready;
        a.load_issues = load_.issue();
        a.store_issues = store_.issue();
        a.move = a.asked || a.ar || a.aw || fetch_.moves() || load_.moves() || store_.moves();
    }

    // Find the wires of cycle `from_`, which stay until `data_.last` if the address sides add nothing.
    void look_at_data() {
        DataWires& d = data_;
        const Dram::Pins& pins = dram_.pins();
        const bool owned = arbiter_.owned(), to_load = arbiter_.owner_is_load();
        d.for_fetch = pins.rvalid && owned && !to_load;
        d.for_load = pins.rvalid && owned && to_load;
        d.master.rready = d.for_fetch || (d.for_load && load_.data_ready());
        d.master.bready = store_.response_ready();
        d.master.wvalid = store_.word();
        d.read = pins.rvalid && d.master.rready;
        d.written = d.master.wvalid && pins.wready;
        d.response = pins.bvalid;
        const uint64_t fetch = fetch_.lasts(d.for_fetch), load = load_.lasts(d.for_load);
        const uint64_t store = store_.lasts(d.written, d.response);
        d.fetch_moves = fetch != NEVER;
        d.load_moves = load != NEVER;
        d.store_moves = store != NEVER;
        uint64_t cycles = std::min({fetch, load, store});
        if (cycles > 1) cycles = std::min(cycles, dram_.lasts(d.master));
        d.last = cycles == NEVER ? NEVER : from_ + cycles - 1;
    }

    static void present(Dram::Address& pins, const Slice<Address>& slice) {
        pins.valid = slice.valid();
        if (!pins.valid) return;
        pins.addr = slice.front().addr;
        pins.len = slice.front().len;
    }
};
