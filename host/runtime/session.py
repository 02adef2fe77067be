"""Sessions: load a network once, run it on a device as often as wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from pathlib import Path
from types import TracebackType

import numpy as np

from ...hw.config import AcceleratorConfig
from ...sim.energy import OperatingPoint
from ...sim.rtl.activity import Nets, block_activity
from ...sim.rtl.waves import Waves
from ..activity import ActivityReport
from ..compiler import compile_graph
from ..devices.select import DEVICES, GOLDEN, check_device, is_board, open_accelerator
from ..energy import EnergyReport, clocked
from ..errors import UsageError
from ..graph import Graph
from ..program import Program
from ..report import LayerReport, Report, config_hash, preset_name
from ..trace import TraceFile
from ..views import Views
from .batches import Batches
from .executor import Executor, GraphExecutor, Loader
from .measurement import Measurement
from .network import check_configuration, configuration, load_network, program_configuration
from .tensors import Arrays, TensorInfo, batch_inputs

Progress = Callable[[int, int], None]
"""Called with the samples that are done and the samples in all."""


class Session:
    """A network on a device.

        session = Session("model.tflite", device="rtl", preset="edge")
        outputs = session.run(samples)
        print(session.last_report.cycles)

    Args:
        network: path of a model or of a compiled program, or one of them in memory.
        device: "golden", "sim", "rtl", "netlist" or "serial:PORT", see `SerialAddress`.
        config: configuration of the core; else `preset` and `settings` make it, else it is the program's own or `edge`.
        preset: name of a preset.
        settings: `KEY=VALUE` changes of it.
        batch: samples that run at once at most; None for as many as pay, which is 1 for a board, because batches
            change programs and loading one takes long. See `batching`, and `Report.batch`.
        status: called with one line before each slow step, such as compiling the RTL.
        activity: count what the array's cells multiply, in sim and rtl, and what the nets do, in rtl; not with waves.
            Samples run one by one.
        waves: file to which the device rtl records its signals until the session is closed; samples run one by one.

    Raises:
        SystolithError: the file, the configuration or the device cannot be used; the message says why.
    """

    def __init__(self, network: str | Path | Graph | Program, device: str = "sim", *,
                 config: AcceleratorConfig | None = None, preset: str | None = None, settings: Sequence[str] = (),
                 batch: int | None = None, status: Callable[[str], None] | None = None,
                 activity: bool = False, waves: Waves | None = None) -> None:
        check_device(device)
        if batch is not None and batch < 1:
            raise UsageError(f"batch must be at least 1, not {batch}")
        if waves:
            if device != "rtl":
                raise UsageError(f"waves must come from device rtl, not {device}, which has no signals")
            if activity:
                raise UsageError("waves must be recorded by a session that does not count activity; use two")
        if activity and device not in DEVICES[1:]:
            raise UsageError(f"activity must come from {' or '.join(DEVICES[1:])}, not {device}, which "
                             f"{'has no array' if device == GOLDEN else 'does not count it'}")
        if waves or activity:
            if batch not in (None, 1):
                what = "waves" if waves else "activity"
                raise UsageError(f"batch must be 1 with {what}, which is that of one program, not {batch}")
            batch = 1
        if is_board(device) and batch is None:
            batch = 1
        if config is not None and (preset is not None or settings):
            raise UsageError("config must come alone, not with preset or settings; put the changes into config")
        if isinstance(network, str | Path):
            network = load_network(network)
        self.device = device
        self.last_report = None
        self._closed = False
        self._counts_activity = activity
        self._measurement: Measurement | None = None
        self._loader: Loader | None = None
        self._executors: Callable[[int], Iterable[Executor]]
        if isinstance(network, Program):
            self.config = _config_for(network, config, preset, settings)
        else:
            self.config = config or configuration(preset, settings)
        if device == GOLDEN:
            self._graph = graph = network.graph if isinstance(network, Program) else network
            self.inputs, self.outputs = (tuple(_tensor_info(graph, name) for name in names)
                                         for names in (graph.inputs, graph.outputs))
            self._executors = lambda samples: repeat(GraphExecutor(graph), samples)
            return
        program = network if isinstance(network, Program) else compile_graph(network, self.config)
        self._measurement = Measurement(program)
        self.inputs, self.outputs = (tuple(TensorInfo(p.name, p.shape, p.dtype, p.scale, p.zero_point) for p in ports)
                                     for ports in (program.inputs, program.outputs))
        self._loader = Loader(lambda each: open_accelerator(device, self.config, each.dram_bytes, status, waves,
                                                            activity))
        self._loader.load(program)
        self._executors = Batches(program, self.config, self._loader, batch).executors

    inputs: tuple[TensorInfo, ...]
    """Inputs of the network, in the model's order."""

    outputs: tuple[TensorInfo, ...]
    """Outputs of the network, in the model's order."""

    last_report: Report | None
    """Measurements of the last `run`, None before the first."""

    def run(self, inputs: np.ndarray | Arrays, *, dequantize: bool = False,
            progress: Progress | None = None, trace: TraceFile | None = None) -> dict[str, np.ndarray]:
        """Run one sample or a batch.

        Args:
            inputs: one array, or arrays by input name; each holds one sample of the input's shape, or N samples along
                axis 0, in the input's dtype or in float32 to be quantised.
            dequantize: return float32 reals instead of the outputs' own dtype.
            progress: called after each sample or batch.
            trace: open file to which the run is added; a device that counts no cycles has no trace.

        Returns:
            Outputs by name, samples along axis 0, in the outputs' dtype.

        Raises:
            ShapeError: a name, shape or dtype does not fit.
            DeviceError: the accelerator stopped with an error; the session can still be used.
            UsageError: the session is closed, or the device has no trace.
        """
        if self._closed:
            raise UsageError("session must be open to run, not closed; make another one")
        if trace and self.device == GOLDEN:
            raise UsageError(f"a trace must come from {' or '.join(DEVICES[1:])}, not {GOLDEN}, which counts no cycles")
        given = batch_inputs(inputs, self.inputs)
        sizes = {info.name: info.batch for info in self.inputs}
        samples = len(given[self.inputs[0].name]) // self.inputs[0].batch
        measurement = self._measurement
        if measurement:
            measurement.restart()
        results: list[dict[str, np.ndarray]] = []
        done = 0
        start = time.perf_counter()
        for executor in self._executors(samples):
            end = done + executor.samples
            outputs, measured = executor.run(
                {name: array[done * sizes[name] : end * sizes[name]] for name, array in given.items()})
            results.append(outputs)
            if measurement:
                measurement.add(measured, executor.samples)
            if trace:
                trace.add(measured)
            done = end
            if progress:
                progress(done, samples)
        seconds = time.perf_counter() - start
        self.last_report = (measurement.report(self.device, seconds) if measurement
                            else self._golden_report(samples, seconds))
        stacked = {info.name: np.concatenate([np.atleast_1d(result[info.name]) for result in results])
                   for info in self.outputs}
        return {info.name: info.to_real(stacked[info.name]) for info in self.outputs} if dequantize else stacked

    def energy(self, point: OperatingPoint) -> EnergyReport:
        """Return the modelled energy of the last `run` at `point`.

        Raises:
            UsageError: nothing has run yet, the device does not count cycles, or its clock is none of the point.
        """
        if self.last_report is None:
            raise UsageError("session must have run to know its energy; call run first")
        if self._measurement is None:
            raise UsageError(f"device must count cycles for their energy, unlike {self.device!r}; use sim or rtl")
        return self._measurement.energy(clocked(point, self.config))

    def activity(self) -> ActivityReport:
        """Return the activity of the last `run`; that of nets is of all runs.

        Raises:
            UsageError: nothing has run yet, or the session does not count it.
        """
        if not self._counts_activity or self._measurement is None or self.last_report is None:
            raise UsageError("session must have run with activity=True to know its activity")
        nets = self.nets()
        return self._measurement.activity(self.device, block_activity(nets) if nets else None)

    def nets(self) -> Nets | None:
        """Return what each net did in all runs, or None where there are no nets or they are not counted."""
        return self._loader.nets() if self._loader else None

    def views(self) -> Views | None:
        """Return what pictures of the last `run` need besides its report, or None where no cycle was counted."""
        return self._measurement.views() if self._measurement else None

    def close(self) -> None:
        """Give the device back; the session can no longer run."""
        if not self._closed:
            self._closed = True
            if self._loader:
                self._loader.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _golden_report(self, samples: int, seconds: float) -> Report:
        graph = self._graph
        layers = tuple(LayerReport(op.name, op.kind, "cpu", graph.macs(op), None, None) for op in graph.ops)
        return Report(graph.name, self.device, preset_name(self.config), config_hash(self.config), samples,
                      graph.macs(), None, None, None, None, seconds, layers=layers, config=self.config.to_dict())


def _tensor_info(graph: Graph, name: str) -> TensorInfo:
    tensor = graph.tensors[name]
    return TensorInfo.of(name, tensor.shape, tensor.dtype, tensor.quant)


def _config_for(program: Program, config: AcceleratorConfig | None, preset: str | None,
                settings: Sequence[str]) -> AcceleratorConfig:
    if config is None:
        return program_configuration(program, preset, settings)
    check_configuration(program, config)
    return config
