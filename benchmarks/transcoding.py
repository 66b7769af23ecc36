"""What lossless transcoding costs and saves (RADIOLOG_TRANSCODE), codec by codec and on the way to a model's pixels.

    .venv/bin/python benchmarks/transcoding.py --case "way" --json build/bench/transcoding.json

Two chest radiographs of pydicom-data, uncompressed, of 15 and of 10 bits stored in 16.

- codec: what is left of the pixels' bytes, and the processor time to encode them and to decode them again. Beside what
  DICOM has stand lz4 and zstd, with which a Kafka client can compress records.
- intake: objects through `producers.intake`, which is all that an adapter does but for receiving and the log.
- preprocess: the work of one decode process on what the intake made.
- way: all of it on one core, one image after another: the intake, Kafka with an acknowledgement of each, fetched again,
  and preprocessed. The broker is on this machine, so what fewer bytes save of a network is not in it. What the log's
  files grew by is told beside it.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import confluent_kafka
import imagecodecs
import jpeg_ls
import numpy as np
import rle.utils
from confluent_kafka import TopicPartition
from measure import Comparison, Figure, Result, Turn, take_turns, tell
from numpy.typing import NDArray
from own_servers import admin_of, create, delete, own_servers
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels.encoders import RLELosslessEncoder
from report import Options, run

from models import htj2k
from models.bundle import load_bundle
from models.spec import PreprocessSpec
from producers import part10
from producers.intake import Intake, ReceivedObject
from producers.pseudonyms import Pseudonyms
from radiolog.log.clients import KafkaClients, producer_config
from radiolog.log.publisher import KafkaPublisher, MemoryPublisher, Publisher
from radiolog.log.topics import apply
from radiolog.service import configure_logs
from radiolog.settings import Settings, load_settings
from schemas.events import ImageEvent, ImageSource, SourceKind
from schemas.registry import ConfluentRegistry, codec
from schemas.topics import IMAGES
from stream_processors import decoding

FILES = {"CR, 15 bits": "RG1_UNCR.dcm", "CR, 10 bits": "RG3_UNCR.dcm"}
REPEATS = 3
IMAGES_A_TURN = 12
HTJ2K, RAW = "HTJ2K", "as it came"
SIDES = {HTJ2K: ("htj2k", "none"), RAW: ("none", "none"), "lz4": ("none", "lz4"), "zstd": ("none", "zstd")}
"""By name: what the intake makes of pixels, and how the producer compresses records."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A way to write pixels in fewer bytes, and back."""

    encode: Callable[[NDArray[Any], Dataset], bytes]
    decode: Callable[[bytes, NDArray[Any]], Any]


def _jpeg_ls(pixels: NDArray[Any], dataset: Dataset) -> bytes:
    rows, columns = pixels.shape
    options = {"rows": rows, "columns": columns, "samples_per_pixel": 1, "bits_stored": dataset.BitsStored}
    return bytes(jpeg_ls.encode_pixel_data(pixels.tobytes(), **options))


CODECS: Mapping[str, Codec] = {
    HTJ2K: Codec(lambda pixels, it: htj2k.encode(pixels, it.BitsStored), lambda stream, _: htj2k.decode(stream)),
    "JPEG-LS": Codec(_jpeg_ls, lambda stream, _: jpeg_ls.decode_pixel_data(stream)[0]),
    "JPEG lossless": Codec(
        lambda pixels, _: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1),
        lambda stream, _: imagecodecs.jpeg8_decode(stream),
    ),
    "RLE": Codec(
        lambda _, it: next(RLELosslessEncoder.iter_encode(it)),
        lambda stream, pixels: rle.utils.decode_frame(stream, pixels.size, 16, "<"),
    ),
    "lz4": Codec(
        lambda pixels, _: imagecodecs.lz4_encode(pixels.tobytes()),
        lambda stream, pixels: imagecodecs.lz4_decode(stream, out=pixels.nbytes),
    ),
    "zstd": Codec(
        lambda pixels, _: imagecodecs.zstd_encode(pixels.tobytes(), 3),
        lambda stream, _: imagecodecs.zstd_decode(stream),
    ),
}


def measure(options: Options) -> Iterator[Result]:
    """Every case of every file."""
    configure_logs(logging.ERROR)
    contents = {name: Path(str(get_testdata_file(file, download=False))).read_bytes() for name, file in FILES.items()}
    for name, content in contents.items():
        yield from _codecs(name, content, options)
    settings, spec = load_settings(site_secret="0" * 64), load_bundle("default").spec
    for name, content in contents.items():
        yield from _stages(name, content, settings, spec, options)
    if any(options.wanted(f"way, {name}") for name in contents):
        with own_servers(1) as servers:
            for _ in apply(servers, ConfluentRegistry.from_settings(servers)):
                pass
            for name, content in contents.items():
                if options.wanted(f"way, {name}"):
                    yield from _way(name, content, servers, spec, options)


def _codecs(name: str, content: bytes, options: Options) -> Iterator[Result]:
    dataset = dcmread(BytesIO(content))
    pixels = dataset.pixel_array
    for form, one in CODECS.items():
        case = f"codec, {name}, {form}"
        if options.wanted(case):
            tell(f"{case} ...")
            encoded = bytes(one.encode(pixels, dataset))
            if np.frombuffer(one.decode(encoded, pixels), pixels.dtype).tobytes() != pixels.tobytes():
                raise SystemExit(f"{case}: other pixels came back")
            yield Figure(f"{case}: bytes left", "%", [100 * len(encoded) / pixels.nbytes])
            spent = [_spent(partial(one.encode, pixels, dataset)) for _ in range(options.turns)]
            yield Figure(f"{case}: to encode", "CPU ms", spent)
            spent = [_spent(partial(one.decode, encoded, pixels)) for _ in range(options.turns)]
            yield Figure(f"{case}: to decode", "CPU ms", spent)


def _spent(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def _stages(
    name: str, content: bytes, settings: Settings, spec: PreprocessSpec, options: Options
) -> Iterator[Comparison]:
    received = _received(content)
    forms = {side: settings.model_copy(update={"transcode": SIDES[side][0]}) for side in (HTJ2K, RAW)}
    if options.wanted(f"intake, {name}"):
        publisher = MemoryPublisher()
        intakes = {side: _intake(publisher, form) for side, form in forms.items()}
        turns = {side: _per_cpu_second(partial(_accept, one, received, publisher)) for side, one in intakes.items()}
        yield Comparison(f"intake, {name}", "images/CPU s", HTJ2K, RAW, take_turns(turns, options.turns))
    if options.wanted(f"preprocess, {name}"):
        jobs = {side: decoding.Job(_event(received, form).payload, spec) for side, form in forms.items()}
        if decoding.run(jobs[HTJ2K]) != decoding.run(jobs[RAW]):
            raise SystemExit(f"{name}: a model would see other pixels")
        turns = {side: _per_cpu_second(partial(decoding.run, job)) for side, job in jobs.items()}
        yield Comparison(f"preprocess, {name}", "images/CPU s", HTJ2K, RAW, take_turns(turns, options.turns))


def _per_cpu_second(work: Callable[[], object]) -> Turn:
    """How many images a core can do in a second: other work on the machine touches this less than the clock."""
    return lambda: 1000 * REPEATS / _spent(lambda: [work() for _ in range(REPEATS)])


def _received(content: bytes) -> ReceivedObject:
    file, source = part10.parse(content), ImageSource(kind=SourceKind.FILE, peer="", adapter="benchmark")
    return ReceivedObject(file.dataset, file.transfer_syntax, source, datetime.now(UTC))


def _intake(publisher: Publisher, settings: Settings) -> Intake:
    return Intake(publisher, Pseudonyms(settings.require_site_secret()), settings)


def _accept(intake: Intake, received: ReceivedObject, publisher: MemoryPublisher) -> None:
    publisher.facts.clear()
    intake.accept(received)


def _event(received: ReceivedObject, settings: Settings) -> ImageEvent:
    publisher = MemoryPublisher()
    _intake(publisher, settings).accept(received)
    return next(fact.event for fact in publisher.facts if isinstance(fact.event, ImageEvent))


class Compressing(KafkaClients):
    """Clients whose producers compress records."""

    def __init__(self, settings: Settings, how: str) -> None:
        super().__init__(settings)
        self._config = producer_config(settings) | {"compression.type": how}

    def producer(self, on_error: Callable[[Any], None]) -> Any:
        """A producer for adapters."""
        return confluent_kafka.Producer(self._config | {"error_cb": on_error})


class Way:
    """From an object that was received to a model's pixels, by way of the log."""

    def __init__(self, settings: Settings, transcode: str, compression: str, spec: PreprocessSpec) -> None:
        self._avro, self._spec = codec(settings), spec
        self._publisher = KafkaPublisher(settings, self._avro, Compressing(settings, compression))
        self._intake = _intake(self._publisher, settings.model_copy(update={"transcode": transcode}))
        self._reader = KafkaClients(settings).reader()
        self._topic = IMAGES.full_name(settings.topic_prefix)
        self._log = settings.state_dir / "kafka" / "data" / f"{self._topic}-0"
        self.grown: list[float] = []

    def seconds(self, received: ReceivedObject, count: int) -> float:
        """How long so many images take."""
        before, (_, end) = self._size(), self._reader.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=10)
        self._reader.assign([TopicPartition(self._topic, 0, end)])
        began = time.perf_counter()
        for _ in range(count):
            self._intake.accept(received)
        for _ in range(count):
            decoding.run(decoding.Job(self._fetched().payload, self._spec))
        seconds = time.perf_counter() - began
        self.grown.append((self._size() - before) / count / 1e6)
        return seconds

    def close(self) -> None:
        """Lets go of the broker."""
        self._publisher.close()
        self._reader.close()

    def _fetched(self) -> ImageEvent:
        while True:
            message = self._reader.poll(10)
            if message is not None and not message.error():
                return self._avro.decode(IMAGES, message.value())

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self._log.glob("*.log"))


def _way(name: str, content: bytes, settings: Settings, spec: PreprocessSpec, options: Options) -> Iterator[Result]:
    received, admin = _received(content), admin_of(settings)
    count = IMAGES_A_TURN // (4 if options.quick else 1)
    delete(admin, IMAGES, settings)
    create(admin, IMAGES, settings)
    ways = {side: Way(settings, *how, spec) for side, how in SIDES.items()}
    sides = {side: (lambda way=way: count / way.seconds(received, count)) for side, way in ways.items()}
    reached = take_turns(sides, options.turns)
    for side, way in ways.items():
        if side != RAW:
            yield Comparison(f"way, {name}: {side}", "images/s", side, RAW, {key: reached[key] for key in (side, RAW)})
        yield Figure(f"way, {name}: {side}, on disk", "MB an image", way.grown[1:])
        way.close()


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, turns=5))
