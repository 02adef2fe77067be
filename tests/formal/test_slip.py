"""SLIP's decoder returns what its encoder was given, END never occurs within a frame, and broken pairs are refuted."""

import pytest
from amaranth import Module
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from systolith.hw.link.protocol import END, ESC
from systolith.hw.link.slip import ELEMENT, SlipDecoder, SlipEncoder
from tests.formal.contract import assert_holds, assume_holds
from tests.formal.prover import Refuted, has_path, prove


class Pair(wiring.Component):
    """Encoder and decoder back to back: neither stores an element, so an element leaves when it enters."""

    i: In(stream.Signature(ELEMENT))
    o: Out(stream.Signature(ELEMENT))

    def __init__(self, encoder: SlipEncoder, decoder: SlipDecoder):
        self.encoder, self.decoder = encoder, decoder
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.encoder, m.submodules.decoder = encoder, decoder = self.encoder, self.decoder
        connect(m, flipped(self.i), encoder.i)
        connect(m, encoder.o, decoder.i)
        connect(m, decoder.o, flipped(self.o))
        assume_holds(m, self.i, "i")
        assert_holds(m, encoder.o, "line")
        m.d.comb += [
            Assert((self.i.valid & self.i.ready) == (self.o.valid & self.o.ready)),
            Assert(encoder.escaped == decoder.escaped), Assert(~encoder.escaped | (encoder.seen & encoder.special)),
        ]
        with m.If(encoder.seen):
            data, end = self.i.payload.data, self.i.payload.end
            m.d.comb += [Assert(self.i.valid), Assert(encoder.special == (~end & ((data == END) | (data == ESC))))]
        with m.If(encoder.o.valid):
            m.d.comb += Assert((encoder.o.payload == END) == self.i.payload.end)
        with m.If(self.o.valid):
            m.d.comb += Assert(self.o.payload.end == self.i.payload.end)
            with m.If(~self.i.payload.end):
                m.d.comb += Assert(self.o.payload.data == self.i.payload.data)
        return m


def test_decoding_undoes_encoding():
    prove(Pair(SlipEncoder(), SlipDecoder()), bound=8, induction=3)


def test_valid_does_not_wait_for_ready():
    assert not has_path(SlipEncoder(), "o__ready", "o__valid")
    assert not has_path(SlipDecoder(), "o__ready", "o__valid")


class ForgetsEscapes(SlipDecoder):
    """Takes the byte behind ESC as it is."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o.payload.data.eq(self.i.payload)
        return m


class SendsSpecialBytes(SlipEncoder):
    """Escapes nothing."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.special.eq(0)
        return m


@pytest.mark.parametrize(("encoder", "decoder"), [(SlipEncoder, ForgetsEscapes), (SendsSpecialBytes, SlipDecoder)])
def test_a_broken_pair_is_refuted(encoder, decoder):
    with pytest.raises(Refuted):
        prove(Pair(encoder(), decoder()), bound=8)
