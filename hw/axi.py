"""AXI4 and AXI4-Lite signatures, the channels as streams, and sharing of one read channel."""

from typing import Any

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from .fifo import StreamBuffer, StreamFifo

__all__ = ["ADDR_BITS", "ARBITER_LATENCY", "AXI_ADDRESS", "BURST_INCR", "BURST_WORDS", "OKAY", "RESPONSE", "AxiMaster",
           "ReadArbiter", "axi4_signature", "axi_lite_signature", "read_data_layout", "write_data_layout"]

ADDR_BITS = 32
# Bursts stay inside an aligned block of this many words; with words of at most 64 bytes they never cross 4 KiB.
BURST_WORDS = 16
BURST_INCR = 0b01
OKAY = 0b00
# Cycles that `ReadArbiter` adds to the address of a read.
ARBITER_LATENCY = 1

# Payload of the AR and AW streams: byte address and beats - 1. Beats are always full words, bursts always INCR.
AXI_ADDRESS = StructLayout({"addr": unsigned(ADDR_BITS), "len": unsigned(8)})
# Payload of the B stream.
RESPONSE = StructLayout({"resp": unsigned(2)})


def read_data_layout(data_bytes: int) -> StructLayout:
    """Return the payload of the R stream."""
    return StructLayout({"data": unsigned(8 * data_bytes), "resp": unsigned(2), "last": unsigned(1)})


def write_data_layout(data_bytes: int) -> StructLayout:
    """Return the payload of the W stream; all bytes of a beat are written."""
    return StructLayout({"data": unsigned(8 * data_bytes), "last": unsigned(1)})


def axi4_signature(addr_bits: int, data_bytes: int) -> wiring.Signature:
    """Return the AXI4 signature seen from the master, with flat member names and IDs of one bit."""
    address: dict[str, Any] = {"id": Out(1), "addr": Out(addr_bits), "len": Out(8), "size": Out(3), "burst": Out(2),
                               "valid": Out(1), "ready": In(1)}
    return wiring.Signature({
        **{f"aw{name}": member for name, member in address.items()},
        "wdata": Out(8 * data_bytes), "wstrb": Out(data_bytes), "wlast": Out(1), "wvalid": Out(1), "wready": In(1),
        "bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        **{f"ar{name}": member for name, member in address.items()},
        "rid": In(1), "rdata": In(8 * data_bytes), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1),
    })


def axi_lite_signature(addr_bits: int) -> wiring.Signature:
    """Return the 32-bit AXI4-Lite signature seen from the slave, with flat member names."""
    return wiring.Signature({
        "awaddr": In(addr_bits), "awprot": In(3), "awvalid": In(1), "awready": Out(1),
        "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
        "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
        "araddr": In(addr_bits), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
        "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
    })


class AxiMaster(wiring.Component):
    """Present the five channels of the AXI4 master ``bus`` as streams; wires only.

    ``ar``, ``aw`` and ``w`` flow to the bus, ``r`` and ``b`` from it. All transactions have ID 0, so responses come
    back in the order of the addresses.
    """

    def __init__(self, data_bytes: int):
        self.data_bytes = data_bytes
        super().__init__({
            "ar": In(stream.Signature(AXI_ADDRESS)),
            "r": Out(stream.Signature(read_data_layout(data_bytes))),
            "aw": In(stream.Signature(AXI_ADDRESS)),
            "w": In(stream.Signature(write_data_layout(data_bytes))),
            "b": Out(stream.Signature(RESPONSE)),
            "bus": Out(axi4_signature(ADDR_BITS, data_bytes)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        size = (self.data_bytes - 1).bit_length()
        m.d.comb += [
            bus.araddr.eq(self.ar.payload.addr), bus.arlen.eq(self.ar.payload.len), bus.arsize.eq(size),
            bus.arburst.eq(BURST_INCR), bus.arvalid.eq(self.ar.valid), self.ar.ready.eq(bus.arready),
            self.r.payload.data.eq(bus.rdata), self.r.payload.resp.eq(bus.rresp), self.r.payload.last.eq(bus.rlast),
            self.r.valid.eq(bus.rvalid), bus.rready.eq(self.r.ready),
            bus.awaddr.eq(self.aw.payload.addr), bus.awlen.eq(self.aw.payload.len), bus.awsize.eq(size),
            bus.awburst.eq(BURST_INCR), bus.awvalid.eq(self.aw.valid), self.aw.ready.eq(bus.awready),
            bus.wdata.eq(self.w.payload.data), bus.wlast.eq(self.w.payload.last), bus.wstrb.eq(~0),
            bus.wvalid.eq(self.w.valid), self.w.ready.eq(bus.wready),
            self.b.payload.resp.eq(bus.bresp), self.b.valid.eq(bus.bvalid), bus.bready.eq(self.b.ready),
        ]
        return m


class ReadArbiter(wiring.Component):
    """Share one AXI read channel between instruction fetch and loads.

    Fetch goes first, but when both ask they alternate. Data returns in the order of the addresses, so a FIFO of
    owners routes it; ``outstanding`` is the number of bursts in flight that it can tell apart, at least 1.
    """

    def __init__(self, data_bytes: int, outstanding: int):
        self.data_bytes = data_bytes
        self.outstanding = outstanding
        address, data = stream.Signature(AXI_ADDRESS), stream.Signature(read_data_layout(data_bytes))
        super().__init__({
            "fetch_ar": In(address), "fetch_r": Out(data),
            "load_ar": In(address), "load_r": Out(data),
            "ar": Out(address), "r": In(data),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slice = buffer = StreamBuffer(AXI_ADDRESS)
        m.submodules.owners = owners = StreamFifo(unsigned(1), self.outstanding)
        wiring.connect(m, buffer.o, wiring.flipped(self.ar))

        # The choice is made in the cycle of the transfer into the slice, so it never changes under a raised valid.
        room = buffer.i.ready & owners.i.ready
        to_load, load_was_last = Signal(), Signal(init=1)
        m.d.comb += [
            to_load.eq(self.load_ar.valid & ~(self.fetch_ar.valid & load_was_last)),
            buffer.i.payload.eq(Mux(to_load, self.load_ar.payload.as_value(), self.fetch_ar.payload.as_value())),
            buffer.i.valid.eq((self.load_ar.valid | self.fetch_ar.valid) & owners.i.ready),
            owners.i.payload.eq(to_load),
            owners.i.valid.eq((self.load_ar.valid | self.fetch_ar.valid) & buffer.i.ready),
            self.load_ar.ready.eq(room & to_load),
            self.fetch_ar.ready.eq(room & ~to_load),
        ]
        with m.If(room & (self.load_ar.valid | self.fetch_ar.valid)):
            m.d.sync += load_was_last.eq(to_load)

        m.d.comb += [
            self.load_r.payload.eq(self.r.payload), self.fetch_r.payload.eq(self.r.payload),
            self.load_r.valid.eq(self.r.valid & owners.o.valid & owners.o.payload),
            self.fetch_r.valid.eq(self.r.valid & owners.o.valid & ~owners.o.payload),
            self.r.ready.eq(owners.o.valid & Mux(owners.o.payload, self.load_r.ready, self.fetch_r.ready)),
            owners.o.ready.eq(self.r.valid & self.r.ready & self.r.payload.last),
        ]
        return m
