"""Sharing of one AXI4 slave between several masters."""

from amaranth import Array, Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .axi import ADDR_BITS, AXI_ADDRESS, AxiMaster, axi4_signature, write_data_layout
from .fifo import StreamBuffer, StreamFifo

__all__ = ["INTERCONNECT_LATENCY", "Interconnect"]

# Cycles that the interconnect adds to what a master sends, addresses and data; answers pass in their cycle.
INTERCONNECT_LATENCY = 1


class Interconnect(wiring.Component):
    """Connect AXI4 masters to one slave.

    Bursts are granted one by one, reads and writes apart; masters that ask at the same time take turns, so none waits
    for more than one burst of each other. A master that asks alone is granted at once. Bursts must be INCR, of
    full-width beats of which all bytes are written, and have ID 0.

    Parameters
    ----------
    masters : int
        Number of masters, at least 2.
    data_bytes : int
        Bytes in a beat.
    outstanding : int
        Bursts in flight per direction, of all masters together, at least 1.

    Attributes
    ----------
    port0, port1, ...
        For the masters.
    bus
        For the slave.
    """

    def __init__(self, masters: int, data_bytes: int, outstanding: int):
        for name, value, least in (("masters", masters, 2), ("outstanding", outstanding, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
        self.masters = masters
        self.data_bytes = data_bytes
        self.outstanding = outstanding
        signature = axi4_signature(ADDR_BITS, data_bytes)
        super().__init__({**{f"port{i}": In(signature) for i in range(masters)}, "bus": Out(signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.axi = axi = AxiMaster(self.data_bytes)
        wiring.connect(m, axi.bus, wiring.flipped(self.bus))
        ports = [getattr(self, f"port{i}") for i in range(self.masters)]
        (reader,) = self._addresses(m, "ar", axi.ar, 1)
        writer, answered = self._addresses(m, "aw", axi.aw, 2)

        # Data and responses go to and come from the master whose burst is the oldest.
        m.submodules.w_slice = buffer = StreamBuffer(write_data_layout(self.data_bytes))
        wiring.connect(m, buffer.o, axi.w)
        w = buffer.i
        for i, port in enumerate(ports):
            m.d.comb += [
                port.rdata.eq(axi.r.payload.data), port.rresp.eq(axi.r.payload.resp),
                port.rlast.eq(axi.r.payload.last), port.rvalid.eq(axi.r.valid & reader.valid & (reader.payload == i)),
                port.wready.eq(w.ready & writer.valid & (writer.payload == i)),
                port.bresp.eq(axi.b.payload.resp), port.bvalid.eq(axi.b.valid & answered.valid
                                                                  & (answered.payload == i)),
            ]
        m.d.comb += [
            axi.r.ready.eq(reader.valid & Array(port.rready for port in ports)[reader.payload]),
            reader.ready.eq(axi.r.valid & axi.r.ready & axi.r.payload.last),
            w.payload.data.eq(Array(port.wdata for port in ports)[writer.payload]),
            w.payload.last.eq(Array(port.wlast for port in ports)[writer.payload]),
            w.valid.eq(writer.valid & Array(port.wvalid for port in ports)[writer.payload]),
            writer.ready.eq(w.valid & w.ready & w.payload.last),
            axi.b.ready.eq(answered.valid & Array(port.bready for port in ports)[answered.payload]),
            answered.ready.eq(axi.b.valid & axi.b.ready),
        ]
        return m

    def _addresses(self, m: Module, channel: str, target: stream.Interface, followers: int) -> list:
        """Forward an address channel to ``target``; return streams of who owns each burst, one per follower."""
        asking = [{name: getattr(getattr(self, f"port{i}"), channel + name)
                   for name in (*AXI_ADDRESS.members, "valid", "ready")} for i in range(self.masters)]
        m.submodules[f"{channel}_slice"] = buffer = StreamBuffer(AXI_ADDRESS)
        wiring.connect(m, buffer.o, target)
        owners = [StreamFifo(range(self.masters), self.outstanding) for _ in range(followers)]
        for i, fifo in enumerate(owners):
            m.submodules[f"{channel}_owners{i}"] = fifo

        # The choice is made in the cycle of the transfer into the slice, so it never changes under a raised valid.
        valid = Cat(port["valid"] for port in asking)
        room, grant = Signal(name=f"{channel}_room"), Signal(name=f"{channel}_grant")
        chosen, last = (Signal(range(self.masters), name=f"{channel}_{name}") for name in ("chosen", "last"))
        self._choose(m, valid, last, chosen)
        m.d.comb += [room.eq(Cat(buffer.i.ready, *(fifo.i.ready for fifo in owners)).all()),
                     grant.eq(valid.any() & room), buffer.i.valid.eq(grant)]
        for fifo in owners:
            m.d.comb += [fifo.i.valid.eq(grant), fifo.i.payload.eq(chosen)]
        for i, port in enumerate(asking):
            m.d.comb += port["ready"].eq(room & (chosen == i))
        m.d.comb += [buffer.i.payload[name].eq(Array(port[name] for port in asking)[chosen])
                     for name in AXI_ADDRESS.members]
        with m.If(grant):
            m.d.sync += last.eq(chosen)
        return [fifo.o for fifo in owners]

    def _choose(self, m: Module, valid: Value, last: Signal, chosen: Signal) -> None:
        """Set ``chosen`` to the first after ``last`` that asks."""
        with m.Switch(last):
            for i in range(self.masters):
                with m.Case(i):
                    for k in range(self.masters, 0, -1):
                        with m.If(valid[(i + k) % self.masters]):
                            m.d.comb += chosen.eq((i + k) % self.masters)
