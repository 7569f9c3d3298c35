"""Model cards, the leaderboard and the README's table."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, constants
from huggingface_hub.utils import close_session

import zoo
from zoo import registry
from zoo.errors import ZooError
from zoo.evaluation import cards, tables
from zoo.evaluation.metrics import METRICS
from zoo.evaluation.protocol import Protocol
from zoo.evaluation.report import worst_by
from zoo.evaluation.results import BASELINES, Result
from zoo.spec import ModelSpec, WeightsSpec

NOTES_DIR = Path(__file__).parent.parent / "model_cards" / "notes"
NOTES = "\n\n".join(f"## {heading}\n\nWords on {heading.lower()}." for heading in cards.NOTES)
PHOTOS = ["a__one.jpg", "a__two.jpg", "b__three.jpg", "b__four.jpg", "b__five.jpg", "c__six.jpg"]
SECTIONS = (
    *("How to use", "Intended use", "Training data", "Training", "Results", "Failure cases", "Limits", "Ethics"),
    *("What was tried", "Provenance"),
)


def known(name: str, tag: str) -> tuple[ModelSpec, WeightsSpec]:
    spec = registry.find(name)[0]
    return spec, next(w for w in spec.weights if w.tag == tag)


def result(name: str, tag: str | None = None, style: str | None = None, *, gain: float = 1.234, **more: Any) -> Result:
    """A made-up result of real weights, or of a baseline."""
    model = name not in BASELINES
    spec = registry.find(name)[0] if model else None
    weights = next((w for w in spec.weights if w.tag == tag), None) if spec else None
    short = name if weights is None or spec is None or weights is spec.weights[0] else f"{name}.{tag}"
    spread = [-0.3, 0.1, 0.2, -0.1, 0.05, 0.05]
    values = {"gain": gain, "psnr": 21 + gain, "ciede2000": 9.87 - gain, "cf_abs": 30.0}
    sets = {"cf_share": 50 + 10 * gain, "delta_cf_abs": 3.456}
    table: dict[str, Any] = {
        "label": f"{short}:{style}" if style else short,
        "kind": "model" if model else "baseline",
        "model": name,
        "tag": tag,
        "options": {"style": style} if style else {},
        "benchmark": "eval",
        "protocol": Protocol().stated(),
        "data": {"sha256": "5" * 64, "names": PHOTOS, "left_out": {}, "credits": {}},
        "measured": {m: {"value": v, "interval": [v - 0.25, v + 0.25]} for m, v in (values | sets).items()},
        "not_measured": {"fid": "not measured (weights absent)"},
        "per_picture": {m: [v + d for d in spread] for m, v in values.items()},
        "replicates": {m: [v + i / 1000 for i in range(-500, 500)] for m, v in sets.items()},
        "histogram": {"a": [0] * 44, "b": [0] * 44},
        "versions": {"python": "3.11"},
        "machine": {"processor": "Some CPU", "threads": 2, "bf16": True, "system": "Linux"},
    }
    if weights is not None:
        table["weights"] = {
            "sha256": weights.sha256,
            "size_bytes": weights.size_bytes,
            "license": weights.license,
            "commercial_use": weights.commercial_use,
        }
        table["cost"] = {"ms": 41.7, "parameters": 2_041_263, "gflops": 1.5, "peak_memory_mb": 400.0, "threads": 2}
    return Result(**(table | more))


def of_fusion(**more: Any) -> list[Result]:
    return [
        result("fusion", "base", "faithful", **more),
        result("fusion", "base", "vivid", gain=-0.04, **more),
        *(result(name, gain=0.0, **more) for name in BASELINES),
    ]


def everything(**more: Any) -> list[Result]:
    models = [result("regression", "base"), result("regression", "scratch"), result("classification", "base")]
    return [*models, *of_fusion(**more)]


def card_of(*, notes: str = NOTES, pictures: dict[str, str] | None = None, **by_benchmark: list[Result]) -> str:
    return cards.card(*known("fusion", "base"), by_benchmark or {"eval": of_fusion()}, notes, pictures or {})


def tables_in(text: str) -> list[list[str]]:
    """The lines of each table; a table's lines must all have as many cells."""
    found = [block.split("\n") for block in re.split(r"\n\n", text) if block.startswith("|")]
    for lines in found:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(cells) == 1, lines
        assert re.fullmatch(r"\|( -+:? \|)+", lines[1])
    return found


class TestCard:
    def test_front_matter_reads_back(self) -> None:
        text = card_of()
        data = ModelCard(text).data
        assert data.license == "apache-2.0"
        assert data.library_name == "colorzoo"
        assert data.pipeline_tag == "image-to-image"
        assert {"colorization", "fusion", "not-for-commercial-use"} <= set(data.tags)
        assert data.model_name == "fusion.base"
        found = {(e.metric_type, e.metric_name): e for e in data.eval_results}
        gain = found["gain", "gain over grey (dB), vivid"]
        assert gain.metric_value == -0.04
        assert gain.metric_args == {"style": "vivid"}
        assert found["gain", "gain over grey (dB), faithful"].metric_value == 1.23
        assert found["cf_share", "colorfulness / truth (%), vivid"].metric_value == 50
        assert (gain.task_type, gain.task_name) == ("image-to-image", "Colorization")
        assert gain.dataset_name == "eval (6 photos)"
        assert len(data.eval_results) == 2 * 6
        assert str(ModelCard(text)) == text

    def test_eval_results_are_the_results_rounded(self) -> None:
        own = [r for r in of_fusion() if r.kind == "model"]
        expected = [e for r in own for e in cards._eval_results(r)]
        assert ModelCard(card_of()).data.eval_results == expected
        for e in expected:
            assert any(
                e.metric_value
                == pytest.approx(r.value(e.metric_type), abs=0.51 * 10 ** -METRICS[e.metric_type].decimals)
                for r in own
            )

    def test_has_every_section_in_order(self) -> None:
        assert tuple(re.findall(r"^## (.+)$", card_of(), re.MULTILINE)) == SECTIONS

    def test_states_what_the_spec_says(self) -> None:
        spec, weights = known("fusion", "base")
        text = card_of()
        assert str(weights.sha256) in text
        assert "2,041,263" in text
        assert "**Commercial use**: **no**" in text
        assert f"training/configs/{weights.training_config}" in text
        assert str(weights.commit)[:12] in text
        assert 'zoo.load("fusion")' in text
        assert "Caltech-101" in text
        assert f"{spec.working_size} × {spec.working_size}" in text

    def test_other_weights_say_how_they_differ_and_are_loaded_by_tag(self) -> None:
        spec, weights = known("regression", "scratch")
        text = cards.card(spec, weights, {"eval": everything()}, NOTES, {})
        assert "encoder `plain` instead of `tf_efficientnet_lite0`" in text
        assert 'zoo.load("regression.scratch")' in text
        assert "`fusion:vivid`" not in text

    def test_tables_hold_styles_baselines_and_intervals(self) -> None:
        first, *_ = tables_in(card_of())
        assert [line.split(" | ")[0] for line in first[2:]] == [
            *("| `fusion:faithful`", "| `fusion:vivid`", "| no colour"),
            *("| mean colour of the training photos", "| real photos"),
        ]
        assert "+1.23<br><sub>+0.98&nbsp;to&nbsp;+1.48</sub>" in first[2]
        assert "∞" in first[-1]
        assert "FID: not measured (weights absent)" in card_of()

    def test_a_changed_number_changes_the_card(self) -> None:
        changed = of_fusion()
        measured = changed[0].measured | {"gain": {"value": 1.5, "interval": [1.4, 1.6]}}
        changed[0] = replace(changed[0], measured=measured)
        assert card_of(eval=changed) != card_of(eval=of_fusion())
        assert "+1.50" in card_of(eval=changed)

    def test_is_the_same_each_time(self) -> None:
        assert card_of() == card_of(eval=list(reversed(of_fusion()[:2])) + of_fusion()[2:])

    def test_names_its_result_files_and_their_digests(self) -> None:
        last = card_of().split("## Provenance")[1]
        for r in of_fusion():
            assert f"results/eval/{r.file_name}" in last
            assert r.digest[:12] in last

    def test_failures_are_chosen_by_rule_and_credited(self) -> None:
        credits = {
            "b__three.jpg": {"author": "A. Uthor", "licence": "CC BY 4.0", "source": "somewhere", "title": "Three"}
        }
        data = {"sha256": "6" * 64, "names": PHOTOS, "left_out": {}, "credits": credits}
        free = of_fusion(benchmark="free", data=data)
        assert worst_by(free[0], cards.FAILURES) == ["b__three.jpg", "a__two.jpg", "b__five.jpg", "c__six.jpg"]
        text = card_of(free=free, pictures={"fusion:vivid": "reports/free/failures fusion+vivid.jpg"})
        part = text.split("## Failure cases")[1].split("## Limits")[0]
        assert "Words on failures seen." in part
        assert "highest CIEDE2000" in part
        assert "](reports/free/failures%20fusion+vivid.jpg)" in part
        assert "1. CIEDE2000 8.84: Three, A. Uthor, CC BY 4.0, somewhere\n1. CIEDE2000 8.74: `a__two.jpg`\n" in part

    def test_temperatures_are_shown_where_there_are_some(self) -> None:
        sweep = [{"temperature": 0.38, "gain": -0.5, "gain_interval": [-0.7, -0.3], "cf_share": 99.4}]
        own = [replace(r, sweep=sweep) if r.label == "fusion:vivid" else r for r in of_fusion()]
        assert "| 0.38 | −0.50<br><sub>−0.70&nbsp;to&nbsp;−0.30</sub> | 99 |" in card_of(eval=own)

    def test_without_results_says_so(self) -> None:
        text = cards.card(*known("fusion", "base"), {}, NOTES, {})
        assert "Not evaluated yet" in text
        assert ModelCard(text).data.eval_results is None

    def test_results_of_other_weights_are_refused(self) -> None:
        wrong = [replace(of_fusion()[0], weights={"sha256": "0" * 64})]
        with pytest.raises(ZooError, match=r"results/eval/fusion.base\+faithful.json.*evaluate again"):
            card_of(eval=wrong)


class TestNotes:
    def test_every_card_can_be_made_from_the_real_notes(self) -> None:
        assert {(s.name, w.tag) for s, w in tables.carded()} >= {("fusion", "base"), ("regression", "scratch")}
        for spec, weights in tables.carded():
            text = cards.card(spec, weights, {"eval": everything()}, cards.read_notes(NOTES_DIR, spec.name), {})
            assert "plausible guesses" in text
            assert text.count("\n## Ethics\n") == 1
            assert "Shared by all cards" not in text

    @pytest.mark.parametrize("heading", cards.NOTES)
    def test_a_missing_section_is_named(self, heading: str) -> None:
        with pytest.raises(ZooError, match=rf"notes/fusion.md: section '## {heading}' is missing"):
            card_of(notes=NOTES.replace(f"## {heading}\n", ""))

    @pytest.mark.parametrize(
        ("notes", "message"),
        [
            (NOTES + "\n\n## Ethics\n\nMore.", "'## Ethics' is twice"),
            (NOTES + "\n\n## Etics\n\nMore.", "'## Etics' is unknown"),
            (re.sub("Words on ethics.", "", NOTES), "'## Ethics' is empty"),
            (NOTES + "\n<script>alert(1)</script>", "What was tried.*<s"),
            (NOTES + "\n<!-- models:begin -->", "What was tried.*<!"),
            (NOTES + "\n```\nnever closed", "What was tried.*```"),
            (NOTES + "\n# A title", "What was tried.*# "),
            (NOTES + "\n---\nlicense: mit\n---", "What was tried.*---"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, notes: str, message: str) -> None:
        with pytest.raises(ZooError, match=f"(?s)notes/fusion.md: .*{message}"):
            card_of(notes=notes)

    def test_missing_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ZooError, match=r"notes/fusion.md: cannot be read.*## Ethics"):
            cards.read_notes(tmp_path, "fusion")
        (tmp_path / "fusion.md").write_text("## Intended use\n\nNone.")
        with pytest.raises(ZooError, match=r"notes/ethics.md: cannot be read"):
            cards.read_notes(tmp_path, "fusion")


class TestHub:
    @pytest.fixture
    def hub(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
        """A stand-in for the Hub on this machine that validates metadata, and keeps what it was sent."""
        received: list[dict[str, Any]] = []

        class Validate(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.append({"path": self.path, **body})
                front = yaml.safe_load(body["content"].split("---\n")[1])
                good = front.get("license") in {"apache-2.0", "other"} and front["model-index"][0]["results"]
                answer = b"" if good else b"license is missing"
                self.send_response(200 if good else 400)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Validate)
        thread = Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        close_session()  # a client that was made before knows another proxy
        yield received
        close_session()
        server.shutdown()
        thread.join()
        server.server_close()

    def test_a_card_validates(self, hub: list[dict[str, Any]]) -> None:
        ModelCard(card_of()).validate()
        assert hub[0]["path"] == "/api/validate-yaml"
        assert hub[0]["repoType"] == "model"
        with pytest.raises(ValueError, match="license is missing"):
            ModelCard(re.sub("^license:.*\n", "", card_of(), flags=re.MULTILINE)).validate()

    @pytest.mark.parametrize(
        ("license", "expected"),
        [
            ("Apache-2.0", {"license": "apache-2.0"}),
            ("GPL-3.0-only", {"license": "gpl-3.0"}),
            ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
            ("My own: see\nhttps://x.example", {"license": "other", "license_name": "my-own-see-https-x.example"}),
        ],
    )
    def test_licences_are_the_hubs(self, license: str, expected: dict[str, str]) -> None:
        spec, weights = known("fusion", "base")
        text = cards.card(spec, replace(weights, license=license), {"eval": of_fusion()}, NOTES, {})
        data = ModelCard(text).data.to_dict()
        assert {key: data[key] for key in expected} == expected
        assert ("license_name" in data) == ("license_name" in expected)

    def test_a_licence_without_a_name_is_refused(self) -> None:
        spec, weights = known("fusion", "base")
        with pytest.raises(ZooError, match="licence without a name"):
            cards.card(spec, replace(weights, license="???"), {}, NOTES, {})

    def test_importing_the_cards_does_not_import_the_hub(self) -> None:
        code = "import sys, zoo.evaluation.cards; sys.exit('huggingface_hub' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


class TestLeaderboard:
    def test_holds_every_model_with_links(self) -> None:
        text = tables.leaderboard({"free": everything(benchmark="free"), "eval": everything()})
        assert text.index("## eval") < text.index("## free")
        first, costs, *_ = tables_in(text)
        assert len(first) == 2 + 5 + 3
        assert "[`fusion:vivid`](fusion.base.md)" in "\n".join(first)
        assert "[`regression.scratch`](regression.scratch.md)" in "\n".join(first)
        assert "[JSON](results/eval/fusion.base+vivid.json)" in "\n".join(first)
        assert "reports/eval/README.md" in text
        assert "reports/free/README.md" in text
        assert "ms per photo" in costs[0]
        assert "2 threads of Some CPU" in text
        assert "**CIEDE2000** (`ciede2000`; lower is better)" in text

    def test_bold_are_the_best_and_those_that_do_not_really_differ(self) -> None:
        close = result("regression", "base", gain=1.2)
        noisy = [1.9, 0.3, 2.1, 0.2, 1.6, 1.1]
        per_picture = close.per_picture | {"gain": noisy}
        far = result("classification", "base", gain=0.1)
        text = tables.leaderboard({"eval": [replace(close, per_picture=per_picture), far, *of_fusion()]})
        rows = {line.split("`")[1]: line for line in tables_in(text)[0][2:] if "`" in line}
        assert "**+1.23**" in rows["fusion:faithful"]
        assert "| +1.20 ≈<br>" in rows["regression"]
        assert "≈" not in rows["classification"].split(" | ")[1]
        assert "**" not in rows["classification"].split(" | ")[1]

    def test_metrics_without_a_better_end_have_no_best(self) -> None:
        header, _, *rows = tables_in(tables.leaderboard({"eval": everything()}))[0]
        column = header.split(" | ").index("colorfulness / truth, %")
        assert not any("**" in row.split(" | ")[column] for row in rows)


class TestReadme:
    def test_table(self) -> None:
        text = tables.readme_table(everything())
        (table,) = tables_in(text)
        assert table[0].startswith(
            "| model | what it is | gain over grey, dB | colorfulness / truth, % | ms per photo | MB |"
        )
        rows = "\n".join(table[2:])
        assert "[`fusion:faithful`](model_cards/fusion.base.md) | Pretrained backbone" in rows
        size = f"{(zoo.describe('fusion').weights[0].size_bytes or 0) / 1e6:.1f}"
        assert f"| the same, style `vivid` | −0.04 | 50 | 42 | {size} | Apache-2.0 (no) |" in rows
        assert "| `grayscale` | baseline: no colour | 0.00 | 50 |" in rows
        assert "truth`" not in rows
        assert "6 photos" in text
        assert "model_cards/reports/eval/README.md" in text
        assert "(model_cards/README.md)" in text

    def test_without_results(self) -> None:
        with pytest.raises(ZooError, match="no results"):
            tables.readme_table([])

    def test_replaced(self) -> None:
        readme = f"# Title\n\n{tables.BEGIN}\nold\n{tables.END}\n\nrest\n"
        once = tables.replaced(readme, "| a |\n| --- |")
        assert once == f"# Title\n\n{tables.BEGIN}\n\n| a |\n| --- |\n\n{tables.END}\n\nrest\n"
        assert tables.replaced(once, "| a |\n| --- |") == once

    @pytest.mark.parametrize(
        "readme",
        [
            "no markers",
            f"{tables.BEGIN} only the first",
            f"{tables.END} {tables.BEGIN}",
            f"{tables.BEGIN} {tables.END} {tables.BEGIN} {tables.END}",
        ],
    )
    def test_markers_must_be_there_once(self, readme: str) -> None:
        with pytest.raises(ZooError, match="not marked"):
            tables.replaced(readme, "table")

    def test_a_table_cannot_break_out(self) -> None:
        with pytest.raises(ZooError, match="marker"):
            tables.replaced(f"{tables.BEGIN}{tables.END}", f"row {tables.END}")


class TestStale:
    def test_nothing_to_say(self) -> None:
        assert cards.stale_weights({"eval": everything()}) == []

    def test_other_weights(self) -> None:
        wrong = replace(result("fusion", "base", "vivid"), weights={"sha256": "0" * 64})
        (message,) = cards.stale_weights({"eval": [*everything(), wrong]})
        for part in ("model_cards/results/eval/fusion.base+vivid.json", "0" * 64, known("fusion", "base")[1].sha256):
            assert str(part) in message
        assert "colorzoo evaluate --models fusion " in message

    def test_what_is_no_longer_registered(self) -> None:
        gone = [
            replace(result("fusion", "base"), model="confusion"),
            replace(result("fusion", "base"), tag="old"),
            replace(result("fusion", "base"), options={"style": "garish"}),
        ]
        model, tag, style = cards.stale_weights({"free": gone})
        assert "results/free/confusion.base.json: no model named 'confusion'" in model
        assert "results/free/fusion.old.json" in tag
        assert "expected: base" in tag
        assert "results/free/fusion.base+garish.json" in style
        assert "faithful, vivid" in style


class TestHostile:
    TEXT = "x | y\n\n# <script>alert(1)</script> [a](javascript:b) `c` *d* ~~e~~ $f$ &lt; \u202e<!-- models:end -->"

    def check(self, text: str) -> None:
        tables_in(text)
        body = re.sub(r"^---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL)
        assert not re.search(r"(?<!\\)<script", body)
        assert not re.search(r"(?<!\\)<!-- models", body)
        assert not re.search(r"(?<!\\)\]\(javascript", body)
        assert "\n# \\<script" not in body
        assert "\u202e" not in text

    def test_in_specs(self) -> None:
        spec, weights = known("fusion", "base")
        spec = replace(spec, summary=self.TEXT, reference=self.TEXT)
        weights = replace(weights, license=self.TEXT, training_data=(self.TEXT,), source_url=self.TEXT)
        text = cards.card(spec, weights, {"eval": of_fusion()}, NOTES, {})
        self.check(text)
        assert ModelCard(text).data.license == "other"

    def test_in_results(self) -> None:
        bad = replace(
            result("fusion", "base", "vivid"),
            label=self.TEXT,
            not_measured={"fid": self.TEXT},
            machine={"processor": self.TEXT, "threads": 2},
        )
        data = {"sha256": "6" * 64, "names": [f"{self.TEXT}{i}" for i in range(6)], "credits": {}}
        credits = {f"{self.TEXT}{i}": {"title": self.TEXT, "author": self.TEXT} for i in range(3)}
        bad = replace(bad, benchmark="free", data=data | {"credits": credits})
        self.check(card_of(free=[bad], pictures={bad.label: "x) <script>"}))
        self.check(tables.leaderboard({"free": [bad]}))
        stranger = replace(bad, model="<script>", weights={"license": self.TEXT, "commercial_use": None})
        self.check(tables.readme_table([stranger]))
        assert "]()" not in tables.leaderboard({"free": [stranger]})
