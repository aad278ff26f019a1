"""Many files: whole or not at all, planned, taken up again, summed up, and asked for on the command line."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import generate
import numpy as np
import pytest
from generator.errors import GeneratorError
from generator.files import SampleFiles, prepare_folder, read_samples, whole_or_nothing
from generator.options import GenerationOptions
from generator.processes import PROCESSES
from generator.sets import (
    SETS,
    Job,
    arguments,
    check_compatible,
    generator_command,
    plan_jobs,
    run_jobs,
    scaled_events,
    set_named,
)
from generator.summary import combine

GENERATE = Path(generate.__file__)


def metadata(process: str, entries: int, seed: int, **other: Any) -> dict[str, Any]:
    plain = {"file": f"{process}_s{seed}.root", "cpu_s": 10.0, "mpi": False, "negative_weight_fraction": 0.0}
    settings = list(PROCESSES[process].settings) if process in PROCESSES else []
    return {"process": process, "entries": entries, "seed": seed, "settings": settings, **plain, **other}


def write_half(files: SampleFiles, reason: BaseException) -> None:
    with whole_or_nothing(files):
        files.partial.write_bytes(b"half of the ev")
        raise reason


class TestFiles:
    def test_seeds_of_a_process_share_a_folder(self, tmp_path: Path) -> None:
        files = SampleFiles.of(tmp_path, "wz", 7)
        assert (files.root.name, files.json.name) == ("wz_s7.root", "wz_s7.json")

    def test_finished_sample_appears_whole(self, tmp_path: Path) -> None:
        files = SampleFiles.of(tmp_path / "new" / "folder", "wz", 7)
        with whole_or_nothing(files):
            files.partial.write_bytes(b"events")
            assert not list(files.folder.glob("*.root"))
            files.publish({"process": "wz"})
        assert sorted(path.name for path in files.folder.iterdir()) == ["wz_s7.json", "wz_s7.root"]
        assert read_samples(files.folder) == [{"process": "wz"}]

    @pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
    def test_unfinished_sample_leaves_nothing(self, tmp_path: Path, reason: type[BaseException]) -> None:
        files = SampleFiles.of(tmp_path, "wz", 7)
        with pytest.raises(reason):
            write_half(files, reason())
        assert not list(tmp_path.iterdir())

    def test_full_disk(self, tmp_path: Path) -> None:
        files = SampleFiles.of(tmp_path, "wz", 7)
        with pytest.raises(GeneratorError, match=r"wz_s7\.root: No space left.*Nothing"):
            write_half(files, OSError(28, "No space left on device"))
        assert not list(tmp_path.iterdir())

    def test_existing_sample_is_not_replaced_by_accident(self, tmp_path: Path) -> None:
        files = SampleFiles.of(tmp_path, "wz", 7)
        files.root.write_bytes(b"old")
        with pytest.raises(GeneratorError, match=r"wz_s7\.root exists.*--overwrite"), whole_or_nothing(files):
            pytest.fail("entered")
        with whole_or_nothing(files, overwrite=True):
            files.partial.write_bytes(b"new")
            files.publish({})
        assert files.root.read_bytes() == b"new"

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(GeneratorError, match=r"output folder .*file.* --out"):
            prepare_folder(tmp_path / "file" / "x")

    def test_ntuple_without_its_metadata(self, tmp_path: Path) -> None:
        (tmp_path / "wz_s7.root").write_bytes(b"x")
        with pytest.raises(GeneratorError, match=r"wz_s7\.json is missing"):
            read_samples(tmp_path)
        (tmp_path / "wz_s7.json").write_text("{")
        with pytest.raises(GeneratorError, match=r"wz_s7\.json is not valid JSON"):
            read_samples(tmp_path)


class TestPlan:
    committed = (metadata("hmumu_vbf", 100, 40), metadata("hmumu_dy", 60, 42), metadata("hmumu_dy", 40, 52))

    def plan(self, scale: float, existing: list[dict[str, Any]] | None = None, **how: int) -> list[Job]:
        wanted = scaled_events(self.committed, scale)
        return plan_jobs(wanted, existing or [], self.committed, **{"events_per_file": 50, **how})

    def test_unknown_set_offers_the_nearest(self) -> None:
        with pytest.raises(GeneratorError, match="Did you mean leptoquark"):
            set_named("leptoquarks")

    def test_files_of_a_process_add_up(self) -> None:
        assert scaled_events(self.committed, 1.001) == {"hmumu_vbf": 101, "hmumu_dy": 101}
        jobs = self.plan(1.2)
        assert sum(job.stored_events for job in jobs if job.process == "hmumu_dy") == 120
        assert max(job.stored_events for job in jobs) == 50

    def test_seeds_share_no_stream(self) -> None:
        seeds = sorted(job.seed for job in self.plan(5))
        assert min(np.diff(seeds)) == 3
        assert seeds[0] == 1001

    def test_committed_seeds_are_not_used_again(self) -> None:
        assert 40 not in {job.seed for job in self.plan(5, first_seed=34)}

    def test_longest_first(self) -> None:
        times = [job.expected_cpu_s for job in self.plan(2.5)]
        assert times == sorted(times, reverse=True)

    @pytest.mark.parametrize("lost", [0, 1, 3])
    def test_a_run_taken_up_again_makes_the_same_files(self, lost: int) -> None:
        jobs = self.plan(2)
        there = [metadata(j.process, j.stored_events, j.seed) for i, j in enumerate(jobs) if i != lost]
        assert self.plan(2, there) == [jobs[lost]]
        assert self.plan(2, [*there, metadata(jobs[lost].process, jobs[lost].stored_events, jobs[lost].seed)]) == []

    def test_a_larger_scale_tops_up(self) -> None:
        small, large = self.plan(1), self.plan(3)
        there = [metadata(job.process, job.stored_events, job.seed) for job in small]
        assert set(small) | set(self.plan(3, there)) == set(large)

    @pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
    def test_impossible_scale(self, scale: float) -> None:
        with pytest.raises(GeneratorError, match="the scale cannot be"):
            scaled_events(self.committed, scale)

    def test_other_settings_are_not_mixed_in(self) -> None:
        check_compatible([metadata("hmumu_vbf", 5, 1), metadata("foreign", 5, 1)], SETS["hmumu"])
        for other in ({"mpi": True}, {"settings": []}, {"negative_weight_fraction": 0.1}):
            with pytest.raises(GeneratorError, match=r"hmumu_vbf_s1\.root .* other settings"):
                check_compatible([metadata("hmumu_vbf", 5, 1, **other)], SETS["hmumu"])

    @pytest.mark.parametrize("name", ["hmumu", "leptoquark"])
    def test_committed_files_are_compatible_with_their_set(self, name: str) -> None:
        check_compatible(SETS[name].committed(), SETS[name])
        assert set(scaled_events(SETS[name].committed(), 1)) == set(SETS[name].processes)

    def test_job_as_command_line(self) -> None:
        words = arguments(Job("wz", 10, 4, 0.0), Path("out"), SETS["leptoquark"].options)
        given = vars(generate.parser().parse_args(words))
        assert given == {
            "process": "wz", "set": None, "summary": None, "out": Path("out"), "nstore": 10, "seed": 4,
            "cross_section": None, "comp": "lzma", "bits": 10, "slim": True, "keep_binvar": True, "no_mpi": True,
        }  # fmt: skip
        assert "--no-mpi" not in arguments(Job("wz", 10, 4, 0.0), Path("out"), GenerationOptions())
        command = generator_command(GENERATE, Path("out"), SETS["hmumu"].options)
        assert command(Job("wz", 10, 4, 0.0))[:2] == [sys.executable, str(GENERATE)]


class TestRunning:
    jobs = tuple(Job("wz", 10, seed, 1.0) for seed in (1, 2, 3))

    def test_every_job_runs_once(self, tmp_path: Path) -> None:
        lines: list[str] = []
        script = "import pathlib, sys; pathlib.Path(sys.argv[1]).open('x')"
        run_jobs(
            self.jobs,
            tmp_path,
            lambda job: [sys.executable, "-c", script, str(tmp_path / str(job.seed))],
            cores=2,
            report=lines.append,
        )
        assert {path.name for path in tmp_path.iterdir()} == {"1", "2", "3"}
        assert len(lines) == 3
        assert "[3/3]" in lines[-1]

    def test_a_failure_stops_the_queue_and_is_quoted(self, tmp_path: Path) -> None:
        started: list[int] = []

        def command(job: Job) -> list[str]:
            started.append(job.seed)
            return [sys.executable, "-c", f"import sys; sys.exit('no beam') if {job.seed} == 2 else None"]

        with pytest.raises(GeneratorError, match=r"wz_s2\.root \(status 1\): no beam\n1 of 3 files"):
            run_jobs(self.jobs, tmp_path, command, cores=1, report=lambda line: None)
        assert started == [1, 2]

    def test_an_interruption_ends_the_running_jobs(self, tmp_path: Path) -> None:
        started = tmp_path / "pid"
        sleeper = (
            "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
        )

        def command(job: Job) -> list[str]:
            if job.seed == 2:
                while not started.exists() or not started.read_text():
                    time.sleep(0.01)
                raise KeyboardInterrupt
            return [sys.executable, "-c", sleeper, str(started)]

        with pytest.raises(KeyboardInterrupt):
            run_jobs(self.jobs, tmp_path, command, cores=2, report=lambda line: None)
        with pytest.raises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)


class TestSummary:
    def test_two_halves_make_the_whole(self) -> None:
        part = {"process": "wz", "entries": 10, "genEventCount": 40, "genEventSumw": 80.0, "skim_efficiency": 0.25}
        part |= {"neff_stored": 8.0, "xsec_pb": 2.0, "xsec_err_pb": 0.1}
        whole = combine([part, part])
        assert (whole.files, whole.entries, whole.generated, whole.sum_of_weights) == (2, 20, 80, 160.0)
        assert whole.cross_section_pb == 2.0
        assert whole.cross_section_error_pb == pytest.approx(0.1 / np.sqrt(2))
        assert whole.effective_entries == pytest.approx(16.0)
        assert whole.event_yield == pytest.approx(2.0 * 140_000 * 0.25)
        assert whole.event_yield_error == pytest.approx(whole.event_yield * np.hypot(1 / 4, 0.05 / np.sqrt(2)))


class TestCommandLine:
    def test_help_needs_no_generator_and_names_the_processes(self) -> None:
        answer = subprocess.run([sys.executable, str(GENERATE), "--help"], capture_output=True, text=True, check=True)
        assert "hmumu_vbf" in answer.stdout
        assert "lq_m1600" in answer.stdout
        assert "ttbar_pt500 above 500 GeV" in answer.stdout

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--process", "hmumu_vbff"], "Did you mean hmumu_vbf"),
            (["--process", "hmumu_vbf", "--bits", "0"], "mantissa bits cannot be 0"),
            (["--cross-section", "hmumu_vbff"], "Did you mean hmumu_vbf"),
            (["--set", "hmumuu"], "Did you mean hmumu"),
            (["--set", "hmumu", "--jobs", "0"], "must be 1 or more"),
            (["--summary", "no_such_folder"], "no samples"),
        ],
    )
    def test_bad_values_end_with_status_1(
        self, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert generate.main(words) == 1
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--process", "wz", "--scale", "2"], "--scale cannot be used with --process"),
            (["--set", "hmumu", "--no-mpi", "--seed", "3"], "--seed, --no-mpi cannot be used with --set"),
            (["--summary", "x", "--jobs", "3"], "--jobs cannot be used with --summary"),
            (["--cross-section", "wz", "--slim"], "--slim cannot be used with --cross-section"),
            ([], "one of the arguments --process --cross-section --set --summary is required"),
        ],
    )
    def test_wrong_usage_ends_with_status_2(
        self, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            generate.main(words)
        assert message in capsys.readouterr().err

    def test_dry_run_writes_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "out"
        assert generate.main(["--set", "hmumu", "--scale", "2", "--jobs", "2", "--dry-run", "--out", str(out)]) == 0
        assert "125636 events wanted, 125636 to be made in 14 files" in capsys.readouterr().out
        assert not out.exists()

    def test_summary_of_committed_files(self, data_samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert generate.main(["--summary", str(data_samples / "hmumu")]) == 0
        assert "| hmumu_dy | 2 | 38689 |" in capsys.readouterr().out
