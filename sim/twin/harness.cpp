// A Verilated board with a serial line, behind a C interface: bytes go in and come out, bits travel on the pins.
//
// Each cycle costs two evaluations, as in sim/rtl. Compiled with -DDIVISOR=<cycles per bit>, -DRX_INVERTED=<0 or 1>,
// -DTX_INVERTED=<0 or 1>, and, where there is a reset button, -DBUTTON_UP=<its pin while nobody presses it>.

#include <cstdint>
#include <memory>

#include "Vboard.h"
#include "verilated.h"

namespace {

constexpr unsigned BITS = 10; // of a byte on the line, with start and stop bit

class Twin {
public:
    Twin() { power_up(); }
    ~Twin() { top_->final(); }

    // Begin as after power-up; what travels in both directions is lost.
    void power_up() {
        if (top_) top_->final();
        top_.reset();
        context_.reset(new VerilatedContext);
        top_.reset(new Vboard(context_.get(), "TOP"));
        sending_ = receiving_ = 0;
        rx(1);
#ifdef BUTTON_UP
        top_->button = BUTTON_UP;
#endif
    }

    // Run `cycles`, or until `out` is full. Takes bytes from `in` as the line has room for them.
    uint64_t run(uint64_t cycles, const uint8_t* in, uint64_t size, uint64_t* taken, uint8_t* out, uint64_t room,
                 uint64_t* given) {
        *taken = *given = 0;
        uint64_t done = 0;
        for (; done < cycles && *given < room; done++) {
            if (!sending_ && *taken < size) {
                shift_ = 1u << (BITS - 1) | in[(*taken)++] << 1;
                sending_ = BITS * DIVISOR;
            }
            if (sending_) {
                rx(shift_ & 1);
                if (--sending_ % DIVISOR == 0) shift_ >>= 1;
            }
            cycle();
            if (!receiving_) {
                if (!tx()) receiving_ = BITS * DIVISOR - 1; // this is the first cycle of the start bit
            } else {
                receiving_--;
                if (receiving_ % DIVISOR == DIVISOR / 2) received_ = received_ >> 1 | tx() << (BITS - 1);
                if (!receiving_ && received_ >> (BITS - 1)) out[(*given)++] = received_ >> 1;
            }
        }
        cycles_ += done;
        return done;
    }

    uint64_t cycles() const { return cycles_; }

private:
    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vboard> top_;
    uint64_t cycles_ = 0;
    unsigned sending_ = 0, shift_ = 0;       // cycles left of the byte on rx, and its bits
    unsigned receiving_ = 0, received_ = 0;  // of the byte on tx

    void rx(unsigned bit) { top_->rx = bit ^ RX_INVERTED; }
    unsigned tx() const { return top_->tx ^ TX_INVERTED; }
    void cycle() {
        top_->clock = 0;
        top_->eval();
        top_->clock = 1;
        top_->eval();
    }
};

} // namespace

extern "C" {
void* twin_create() { return new Twin; }
void twin_destroy(void* t) { delete static_cast<Twin*>(t); }
void twin_power_up(void* t) { static_cast<Twin*>(t)->power_up(); }
uint64_t twin_run(void* t, uint64_t cycles, const uint8_t* in, uint64_t size, uint64_t* taken, uint8_t* out,
                  uint64_t room, uint64_t* given) {
    return static_cast<Twin*>(t)->run(cycles, in, size, taken, out, room, given);
}
uint64_t twin_cycles(void* t) { return static_cast<Twin*>(t)->cycles(); }
}
