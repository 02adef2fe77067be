"""Issue logic: instruction queues, dependency tokens and activation bank locks."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import AcceleratorConfig
from .fifo import StreamFifo
from .isa import ENTRY, ERROR, HEADER, UNIT_OF, ErrorCode, Unit

__all__ = ["GRANT_LATENCY", "MAX_IN_FLIGHT", "PRIORITY", "IssueLogic", "LockTable"]

# Who gets a free bank, and the one grant per cycle, first: the array must not wait.
PRIORITY = (Unit.COMPUTE, Unit.VECTOR, Unit.STORE, Unit.LOAD)
# Instructions of one unit that may hold banks at a time.
MAX_IN_FLIGHT = 4
# Cycles from an instruction at the head of its queue, tokens and banks available, to its start at the unit.
GRANT_LATENCY = 2


class LockTable(wiring.Component):
    """Banks held by the instructions of one unit, released in order.

    ``held`` is the union over up to ``MAX_IN_FLIGHT`` instructions; ``full`` forbids ``acquire``.
    """

    def __init__(self, banks: int):
        self.banks = banks
        super().__init__({"acquire": In(1), "mask": In(2 * banks), "release": In(1), "held": Out(2 * banks),
                          "full": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        masks = Memory(shape=2 * self.banks, depth=MAX_IN_FLIGHT, init=[])
        m.submodules.masks = masks
        newest, oldest = masks.write_port(), masks.read_port(domain="comb")
        count = Signal(range(MAX_IN_FLIGHT + 1))
        m.d.comb += [self.full.eq(count == MAX_IN_FLIGHT), newest.en.eq(self.acquire), newest.data.eq(self.mask)]
        m.d.sync += [count.eq(count + self.acquire - self.release), newest.addr.eq(newest.addr + self.acquire),
                     oldest.addr.eq(oldest.addr + self.release)]
        # How many instructions hold each.
        for i in range(2 * self.banks):
            holders = Signal.like(count, name=f"holders{i}")
            m.d.sync += holders.eq(holders + (self.acquire & self.mask[i]) - (self.release & oldest.data[i]))
            m.d.comb += self.held[i].eq(holders != 0)
        return m


class IssueLogic(wiring.Component):
    """Queue decoded instructions per unit and start each when it may run.

    The head of a queue is granted when every unit has retired as many instructions as its ``wait_*`` fields ask and no
    other unit holds the activation bank ports that it names; one grant per cycle, in the order of ``PRIORITY``. The
    grant takes the banks; the start follows as soon as the unit takes it. ``halt`` stops grants.

    ``blocked_*`` say why the COMPUTE queue's head is not granted; ``idle`` that nothing is queued or unretired.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        ports = {"i": In(stream.Signature(ENTRY)), "halt": In(1), "clear": In(1), "idle": Out(1),
                 "done": In(len(Unit)), "release": In(len(Unit)), "issued": Out(len(Unit)),
                 "held_read": Out(data.ArrayLayout(unsigned(config.act_banks), len(Unit))),
                 "held_write": Out(data.ArrayLayout(unsigned(config.act_banks), len(Unit))),
                 "blocked_load": Out(1), "blocked_vector": Out(1), "blocked_store": Out(1), "blocked_bank": Out(1),
                 "compute_empty": Out(1), "error": Out(ERROR),
                 "stuck_unit": Out(2), "stuck_index": Out(24)}
        ports |= {f"start_{u.name.lower()}": Out(stream.Signature(ENTRY)) for u in Unit}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        banks = self.config.act_banks
        retired = [Signal(24, name=f"retired_{u.name.lower()}") for u in Unit]
        started = [Signal(24, name=f"started_{u.name.lower()}") for u in Unit]
        queues = [StreamFifo(ENTRY, self.config.queue_depth) for _ in Unit]
        tables = [LockTable(banks) for _ in Unit]

        # Dispatch in program order; an opcode without a unit goes nowhere.
        header = data.View(HEADER, self.i.payload.instr[:HEADER.size])
        unit, known = Signal(range(len(Unit))), Signal()
        with m.Switch(header.opcode):
            for opcode, owner in UNIT_OF.items():
                with m.Case(opcode):
                    m.d.comb += [unit.eq(owner), known.eq(1)]
        m.d.comb += [self.error.valid.eq(self.i.valid & ~known), self.error.code.eq(ErrorCode.OPCODE),
                     self.error.index.eq(self.i.payload.index)]

        may_go = []
        granted = [Signal(name=f"granted_{u.name.lower()}") for u in Unit]
        heads = []
        for u in Unit:
            name = u.name.lower()
            queue, table = queues[u], tables[u]
            m.submodules[f"queue_{name}"] = queue
            m.submodules[f"locks_{name}"] = table
            m.d.comb += [queue.i.payload.eq(self.i.payload),
                         queue.i.valid.eq(self.i.valid & known & (unit == u) & ~self.halt)]
            with m.If(known & (unit == u)):
                m.d.comb += self.i.ready.eq(queue.i.ready & ~self.halt)
            head = data.View(HEADER, queue.o.payload.instr[:HEADER.size])
            heads.append(head)
            start = getattr(self, f"start_{name}")
            tokens = Signal(len(Unit), name=f"tokens_{name}")
            waits = (head.wait_load, head.wait_compute, head.wait_vector, head.wait_store)
            m.d.sync += tokens.eq(Cat(retired[v] >= waits[v] for v in Unit))
            # `tokens` is a cycle old: it belongs to this head only when the head has not just arrived.
            fresh = Signal(name=f"fresh_{name}")
            taken = Signal(name=f"taken_{name}")
            m.d.comb += taken.eq(start.valid & start.ready)
            m.d.sync += fresh.eq(queue.o.valid & ~taken)
            others_read, others_write = 0, 0
            for v in Unit:
                if v != u:
                    others_read = others_read | tables[v].held[:banks]
                    others_write = others_write | tables[v].held[banks:]
            free = Signal(name=f"free_{name}")
            m.d.comb += free.eq(~((head.rd_banks[:banks] & others_read).any()
                                  | (head.wr_banks[:banks] & others_write).any()))
            go = Signal(name=f"go_{name}")
            m.d.comb += go.eq(queue.o.valid & fresh & tokens.all() & free & ~table.full & ~granted[u] & ~self.halt)
            may_go.append(go)
            m.d.comb += [start.payload.eq(queue.o.payload), start.valid.eq(granted[u]), queue.o.ready.eq(taken),
                         table.mask.eq(Cat(head.rd_banks[:banks], head.wr_banks[:banks])),
                         table.release.eq(self.release[u]),
                         self.held_read[u].eq(table.held[:banks]), self.held_write[u].eq(table.held[banks:]),
                         self.issued[u].eq(taken)]
            m.d.sync += [retired[u].eq(retired[u] + self.done[u]), started[u].eq(started[u] + taken)]
            if u == Unit.COMPUTE:
                waiting = queue.o.valid & fresh & ~granted[u]
                m.d.comb += [
                    self.compute_empty.eq(~queue.o.valid),
                    self.blocked_load.eq(waiting & ~tokens[Unit.LOAD]),
                    self.blocked_vector.eq(waiting & tokens[Unit.LOAD] & ~tokens[Unit.VECTOR]),
                    self.blocked_store.eq(waiting & tokens[Unit.LOAD] & tokens[Unit.VECTOR] & ~tokens[Unit.STORE]),
                    self.blocked_bank.eq(waiting & tokens.all() & ~go),
                ]
        earlier = Const(0, 1)
        for u in PRIORITY:
            grant = Signal(name=f"grant_{u.name.lower()}")
            m.d.comb += [grant.eq(may_go[u] & ~earlier), tables[u].acquire.eq(grant)]
            earlier = earlier | may_go[u]
            with m.If(grant):
                m.d.sync += granted[u].eq(1)
            with m.Elif(queues[u].o.ready):
                m.d.sync += granted[u].eq(0)
        with m.If(self.clear):
            m.d.sync += [counter.eq(0) for counter in retired + started]
        m.d.comb += self.idle.eq(~Cat(queue.o.valid for queue in queues).any()
                                 & Cat(a == b for a, b in zip(retired, started, strict=True)).all())

        # Whom to blame when nothing moves: the first unit with an unretired instruction, else the oldest waiting head.
        last_index = [Signal(24, name=f"last_index_{u.name.lower()}") for u in Unit]
        for u in Unit:
            with m.If(self.issued[u]):
                m.d.sync += last_index[u].eq(queues[u].o.payload.index)
        # With nothing to run, the instruction that fetch does not deliver.
        awaited = Signal(24)
        with m.If(self.clear):
            m.d.sync += awaited.eq(0)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += awaited.eq(awaited + 1)
        found, blamed = queues[0].o.valid, Const(0, 2)
        blamed_index = Mux(found, queues[0].o.payload.index, awaited)
        for u in list(Unit)[1:]:
            older = queues[u].o.valid & (~found | (queues[u].o.payload.index < blamed_index))
            blamed, blamed_index = Mux(older, u, blamed), Mux(older, queues[u].o.payload.index, blamed_index)
            found = found | queues[u].o.valid
        m.d.comb += [self.stuck_unit.eq(blamed), self.stuck_index.eq(blamed_index)]
        for u in reversed(Unit):
            with m.If(retired[u] != started[u]):
                m.d.comb += [self.stuck_unit.eq(u), self.stuck_index.eq(last_index[u])]
        return m
