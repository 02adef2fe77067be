"""DRAM devices that a core may be attached to: organisation and timing, from their standards.

Speed bins and tables: JESD79-3F, DDR3-1600K, 4 Gb x16 (speed bins; timing parameters by speed bin, 2 KB page; refresh
parameters by density) and JESD209-4B, LPDDR4-3200, one x16 channel of 8 Gb, write latency set A, no DBI (core timing;
read and write latencies; refresh requirements). Minima in clock cycles that the clock of the bin already meets are left
out.
"""

from dataclasses import dataclass

__all__ = ["DRAMS", "DramDevice"]


@dataclass(frozen=True)
class DramDevice:
    """One channel of DRAM; times are in picoseconds.

    ``burst_bytes`` are what one column command moves in ``burst_time``; ``row_bytes`` the page of a bank.
    """

    banks: int
    row_bytes: int
    burst_bytes: int
    burst_time: int
    read_latency: int   # RL or CL: read command to first data
    write_latency: int  # WL or CWL: write command to first data
    t_rcd: int          # activate to column command
    t_rp: int           # precharge of a bank to its activate
    t_rp_all: int       # precharge of all banks to a refresh
    t_ras: int          # activate to precharge
    t_rrd: int          # activate to activate
    t_faw: int          # window of at most four activates
    t_rtp: int          # read command to precharge
    t_wr: int           # last data written to precharge
    t_wtr: int          # last data written to read command
    t_rtw: int          # gap on the data bus between data read and data written
    t_refi: int         # refresh to refresh
    t_rfc: int          # length of a refresh

    @property
    def row_miss(self) -> int:
        """Picoseconds from a read command to its first burst, when another row of the bank is open."""
        return self.t_rp + self.t_rcd + self.read_latency + self.burst_time


DRAMS = {
    # CL 11, CWL 8 at tCK 1.25 ns; a write command may follow a read command after CL - CWL + tCCD + 2 tCK.
    "ddr3_1600_x16": DramDevice(
        banks=8, row_bytes=2048, burst_bytes=16, burst_time=5_000, read_latency=13_750, write_latency=10_000,
        t_rcd=13_750, t_rp=13_750, t_rp_all=13_750, t_ras=35_000, t_rrd=7_500, t_faw=40_000, t_rtp=7_500, t_wr=15_000,
        t_wtr=7_500, t_rtw=2_500, t_refi=7_800_000, t_rfc=260_000),
    # RL 28, WL 14 at tCK 0.625 ns. Data read come tDQSCK (at most 3.5 ns) later; a write command may follow a read
    # command after RL + tDQSCK + BL/2 - WL + tWPRE (2 tCK), so data written follow those read after tWPRE.
    "lpddr4_3200_x16": DramDevice(
        banks=8, row_bytes=2048, burst_bytes=32, burst_time=5_000, read_latency=28 * 625 + 3_500,
        write_latency=14 * 625, t_rcd=18_000, t_rp=18_000, t_rp_all=21_000, t_ras=42_000, t_rrd=10_000, t_faw=40_000,
        t_rtp=7_500, t_wr=18_000, t_wtr=10_000, t_rtw=2 * 625, t_refi=3_904_000, t_rfc=280_000),
}
