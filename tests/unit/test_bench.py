"""What `make bench` makes of its measurements: figures, bounds, pictures, and a load that counts right."""

import base64
import json
import re
import socketserver
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.sources.kinds.kind import Config
from bench.__main__ import main as bench_main
from bench.harness.events import Stream
from bench.harness.figures import Bound, Figure, Results, Series, number, point, ratios, read_series
from bench.harness.target import Sender
from bench.harness.volley import Load, run
from bench.measure import latency, pictures
from bench.measure.chart import axis, draw
from bench.measure.parts import memory, sustained

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


class Answering(socketserver.BaseRequestHandler):
    """Answers each request as the server's list of answers says, in turn."""

    answers: tuple[bytes, ...] = ()

    def handle(self) -> None:
        place = 0
        while self.request.recv(65_536):
            answer = self.answers[place % len(self.answers)]
            place += 1
            # In two pieces, as a network may deliver it.
            self.request.sendall(answer[:20])
            self.request.sendall(answer[20:])
            if b"connection: close" in answer.lower():
                return


@contextmanager
def door(*statuses: str, closing: bool = False) -> Iterator[int]:
    last = "Connection: close\r\n" if closing else ""
    answers = tuple(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n{last}\r\n{{}}".encode() for status in statuses)
    handler = type("Handler", (Answering,), {"answers": answers})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_load_sends_each_request_once_and_counts_the_answers() -> None:
    with door("202 Accepted") as port:
        load = run(Load("127.0.0.1", port, iter([REQUEST] * 50), 30.0, connections=4))
    assert (load.sent, load.accepted, load.refused) == (50, 50, 0)
    assert len(load.took_s) == 50
    assert load.per_s > 0


def test_a_load_at_a_rate_stops_when_its_time_is_over() -> None:
    with door("202 Accepted") as port:
        load = run(Load("127.0.0.1", port, iter([REQUEST] * 10_000), 0.2, rate=100.0, connections=2))
    assert 0 < load.sent <= 20
    assert load.accepted == load.sent
    assert load.due() == 20


def test_refusals_are_counted() -> None:
    with door("503 Service Unavailable", "202 Accepted") as port:
        load = run(Load("127.0.0.1", port, iter([REQUEST] * 6), 30.0, connections=1))
    assert (load.accepted, load.refused) == (3, 3)


def test_a_connection_that_the_door_closes_is_made_anew() -> None:
    with door("202 Accepted", closing=True) as port:
        load = run(Load("127.0.0.1", port, iter([REQUEST] * 6), 30.0, connections=2))
    assert (load.accepted, load.refused) == (6, 0)


@pytest.mark.parametrize(
    ("bound", "value", "holds"),
    [(Bound(at_least=2), 2.0, True), (Bound(at_least=2), 1.9, False), (Bound(at_most=3), 3.1, False)],
)
def test_a_bound_holds_or_not(bound: Bound, value: float, holds: bool) -> None:
    assert bound.holds(value) is holds


def test_a_figure_is_judged_by_its_median() -> None:
    assert Figure("p", "n", "/s", [1.0, 5.0, 6.0], Bound(at_least=4)).holds is True
    assert Figure("p", "n", "/s", [1.0, 3.0, 6.0], Bound(at_least=4)).holds is False
    assert Figure("p", "n", "/s", [1.0]).holds is None


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([4.0, 9.0, 5.0], [2.0, 3.0]) == [2.0, 3.0]
    assert ratios([4.0], [0.0]) == []


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0.3, 2.5, 36_000.4, 100.0, 12.34)] == ["0.3", "2.5", "36,000", "100", "12.3"]


def results() -> Results:
    found = Results({"cores": 2}, {"rounds": 2})
    found.add("ingest", "ours", "/s", [10.0, 30.0], Bound(at_least=25))
    found.add("ingest", "nobody", "/s", [])
    lines = {"a < b": [point(1, [2.0, 4.0]), point(100, [8.0])]}
    found.series["load"] = Series("Load", "x", "ms", lines, log_x=True)
    return found


def test_the_json_has_every_value_the_median_the_spread_and_the_verdict() -> None:
    told = json.loads(results().to_json())
    (figure,) = told["figures"]
    assert figure["values"] == [10, 30]
    assert (figure["median"], figure["low"], figure["high"]) == (20, 10, 30)
    assert (figure["bound"], figure["holds"]) == ("≥ 25", False)
    assert [one.name for one in results().missed()] == ["ours"]


def test_pictures_are_drawn_from_the_json(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(results().to_json())
    assert read_series(file) == results().series
    assert pictures.main(file, tmp_path / "pictures") == 0
    tree = ET.fromstring((tmp_path / "pictures" / "load.svg").read_text())  # noqa: S314  # ours
    assert {"a < b", "Load", "x", "ms"} <= {text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")}


def test_another_file_gives_no_pictures(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text("{}")
    assert pictures.main(file, tmp_path) == 1


def test_results_without_a_series_are_said_to_have_nothing_to_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text(Results({}, {}).to_json())
    assert pictures.main(tmp_path / "results.json", tmp_path / "made") == 1
    assert "has nothing to draw" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--rounds", "0"], "0 isn't a number above 0"),
        (["--ingest-s", "nan"], "nan isn't a number above 0"),
        (["--hold-s", "inf"], "inf isn't a number above 0"),
        (["--rounds", "1.5"], "invalid int value"),
        (["--json", "/nowhere/results.json"], "can't be written"),
        (["--json", "/"], "can't be written"),
    ],
)
def test_the_bench_starts_nothing_with_words_that_it_cannot_take(
    capsys: pytest.CaptureFixture[str], words: list[str], wrong: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_main(words)
    assert ended.value.code == 2
    assert wrong in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--mix=50/50", "--mix=50/50/1", "--mix=a/b/c", "--rate=0", "--seconds=0.001"])
def test_latency_takes_no_words_that_mean_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.setattr("sys.argv", ["bench.measure.latency", words])
    with pytest.raises(SystemExit) as ended:
        latency.main()
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("log", [True, False])
def test_an_axis_shows_every_value_and_a_few_round_ones(log: bool) -> None:
    values = [3.0, 40.0, 1700.0]
    found = axis(values, 0, 100, log=log)
    assert all(0 <= found.at(value) <= 100 for value in values)
    assert 2 <= len(found.ticks()) <= 12


def test_a_picture_of_one_point_can_be_drawn() -> None:
    for log in (True, False):
        picture = draw(Series("t", "x", "y", {"one": [point(5, [5.0])]}, log, log))
        assert "nan" not in picture
        ET.fromstring(picture)  # noqa: S314  # ours


def test_a_backlog_that_stays_is_held_and_one_that_grows_is_not() -> None:
    steady = [(at / 4, 300) for at in range(240)]
    assert sustained.grown(steady, 60) == 0
    growing = [(at / 4, at * 10) for at in range(240)]
    assert sustained.grown(growing, 60) == pytest.approx(800)
    assert sustained.grown([], 60) == float("inf")


@pytest.mark.parametrize("together", [1, 7])
def test_logs_together_are_as_many_events_as_alone(together: int) -> None:
    sender = Sender("bench", "standard", "whsec_" + base64.b64encode(b"x" * 24).decode(), Config())
    alone, stream = Stream(sender), Stream(sender, logs_together=together)
    requests = list(stream.requests(100))
    lines = sum(len(request.partition(b"\r\n\r\n")[2].splitlines()) for request in requests)
    logs = sum(event_type == "log.recorded" for _, event_type, _ in alone.bodies(100))
    assert lines == stream.made == 100
    assert len(requests) == 100 - logs + -(-logs // together)


def test_memory_that_grows_after_warming_up_shows() -> None:
    assert memory.change_percent([50.0] * 10 + [100.0] * 80 + [110.0] * 10) == pytest.approx(10)
    assert memory.change_percent([100.0, 100.0]) == 0


def test_the_lock_of_the_bench_holds_all_of_dev_at_the_same_versions() -> None:
    def pinned(name: str) -> set[str]:
        text = (Path(__file__).parents[2] / "requirements" / f"{name}.lock").read_text()
        return set(re.findall(r"^[\w.-]+==[^ ]+", text, re.MULTILINE))

    assert pinned("runtime") <= pinned("dev") <= pinned("bench")
