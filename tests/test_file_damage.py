"""Damaged, edited, foreign, newer and older files: the unharmed result, or one StorageError that says what is the case."""

import contextlib
import dataclasses
import errno
import hashlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import mutants_of_files
import numpy as np
import pytest

import dmft
from dmft import StorageError, file_content, sealed_file, storage

apart = importlib.import_module("dmft.apart")
STORED = Path(__file__).parent / "storage"
SCHEMA_1 = sorted(STORED.glob("schema-1-*.h5"))
LINEAR = STORED / "schema-1-deep-linear-trajectory.h5"
NEW_NAMES = file_content._RENAMED_SINCE_1


def assert_same(a, b):
    assert mutants_of_files.same(a, b), (a, b)


@pytest.fixture(scope="module")
def whole():
    """A trajectory with two-time kernels."""
    problem = dmft.DeepLinear(depth=2), dmft.GaussianData(sample_ratio=1.5, label_noise=0.3), dmft.GradientDescent(0.1, 90)
    return dmft.solve(*problem, progress=False)


@pytest.fixture(scope="module")
def older():
    """What the files of schema 1 hold."""
    return {path.name: dmft.load(path) for path in SCHEMA_1}


@pytest.fixture
def stored(whole, tmp_path):
    whole.save(tmp_path / "run.h5")
    return tmp_path / "run.h5"


@contextlib.contextmanager
def rewritten(path):
    """Change a file as another version of dmft would have written it: checksums and seal are right."""
    with h5py.File(path, "r+") as file:
        yield file
        file.attrs.modify("content_sha256", np.bytes_(file_content._content_sha256(file)))
    sealed_file.seal(path)


def edit(path, **attributes):
    """Change a file as another program would."""
    with h5py.File(path, "r+") as file:
        file.attrs.update(attributes)


# ---- the seal, and what a file is without it


def test_seal_is_the_checksum_of_all_that_follows_and_any_hdf5_program_reads_the_file(stored):
    content = stored.read_bytes()
    assert content[:512] == f"dmft seal: sha256 {hashlib.sha256(content[512:]).hexdigest()}\n".encode().ljust(512, b"\0")
    assert sealed_file.is_sealed(stored) and h5py.is_hdf5(stored)
    with h5py.File(stored) as file:
        assert file.userblock_size == 512 and file["test_loss"].shape == (91,)


def test_every_single_flipped_bit_breaks_the_seal(stored):
    content = bytearray(stored.read_bytes())
    rng = np.random.default_rng(1)
    for place, bit in zip(rng.integers(len(content), size=300), rng.integers(8, size=300)):
        content[place] ^= 1 << bit
        stored.write_bytes(content)
        assert not sealed_file.is_sealed(stored)
        content[place] ^= 1 << bit


def test_only_files_with_a_broken_seal_are_read_apart(stored, whole, monkeypatch):
    calls = []

    def watched(function, path, *arguments):
        calls.append(path)
        return apart.apart(function, path, *arguments)

    monkeypatch.setattr(storage, "apart", watched)
    assert_same(dmft.load(stored), whole)
    assert storage.info(stored) and calls == []
    edit(stored, note="half of the runs of March")
    assert_same(dmft.load(stored), whole)
    assert "half of the runs" in storage.info(stored) and calls == [stored, stored]


def flip_number(path, name, chunk):
    with h5py.File(path) as file:
        place = file[name].id.get_chunk_info(chunk).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 5] ^= 4
    path.write_bytes(content)


def flip_text(path, text):
    content = path.read_bytes()
    place = content.index(text)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


@pytest.mark.parametrize("kind", ["deep-ensemble", "mlp-trajectory"])
def test_flipped_bits_in_numbers_of_arrays_that_do_not_grow(kind, older, tmp_path):
    path = tmp_path / "run.h5"
    older[f"schema-1-{kind}.h5"].save(path)
    flip_number(path, "function", 0)
    with pytest.raises(StorageError, match=r"run\.h5 is damaged"):
        dmft.load(path)


@pytest.mark.parametrize("text", [b'"elapsed"', b"every step", b"GradientDescent", b"completed", b'"platform"'])
def test_flipped_bits_in_text(text, stored):
    flip_text(stored, text)
    with pytest.raises(StorageError, match=r"run\.h5 cannot be read: its content was changed after dmft wrote it"):
        dmft.load(stored)


def test_chunks_with_right_checksums_in_the_wrong_place(stored):
    with h5py.File(stored, "r+") as file:
        dataset = file["kernels/Cv"].id
        _, chunk = dataset.read_direct_chunk((64, 0))
        dataset.write_direct_chunk((0, 0), chunk)
    with pytest.raises(StorageError, match="changed after dmft wrote it"):
        dmft.load(stored)


@pytest.mark.parametrize("name", ["kernels/Cv", "test_loss"])
def test_datasets_removed_or_renamed_by_another_program(name, stored):
    with h5py.File(stored, "r+") as file:
        del file[name]
    with pytest.raises(StorageError, match="changed after dmft wrote it"):
        dmft.load(stored)


@pytest.mark.parametrize("attributes", [{"finished": 50}, {"status": "resting"}, {"report": "{"}, {"spec": "{}"}])
def test_edited_attributes_are_refused(stored, attributes):
    edit(stored, **attributes)
    with pytest.raises(StorageError, match=r"run\.h5 cannot be read: its content was changed after dmft wrote it"):
        dmft.load(stored)
    assert "changed after dmft wrote it" in storage.info(stored)


# ---- mutants


@pytest.mark.slow
def test_mutants_of_all_kinds_of_files(tmp_path):
    counts, failures = mutants_of_files.survey(tmp_path, seed=2, count=200)
    assert failures == []
    assert counts["present: load refused"] > 50 and counts["present: load unharmed"] > 5


def test_survey_of_mutants_finds_what_must_not_be(older, tmp_path):
    """Without checksums a changed number is silently wrong."""
    worker = mutants_of_files.Worker(directly=True)
    original, path = tmp_path / "original.h5", tmp_path / "run.h5"
    older["schema-1-deep-ensemble.h5"].save(original)
    path.write_bytes(original.read_bytes())
    with rewritten(path) as file:
        file["function"][0, 0, 0] += 1e-9
    try:
        assert worker.ask(path, original) == ["silently wrong", "unharmed"]
        assert worker.ask(original, original) == ["unharmed", "unharmed"]
    finally:
        worker.close()


def hang(path, *arguments):
    while True:
        pass


def crash(path, *arguments):
    os.abort()


def fail(path, *arguments):
    raise KeyError("spec")


@pytest.mark.parametrize(
    ("function", "message"),
    [(hang, r"is damaged \(HDF5 hangs"), (crash, r"is damaged \(HDF5 crashes on it: signal 6\)"), (fail, "failed .KeyError")],
)
def test_what_happens_apart_is_contained(function, message, stored, monkeypatch):
    monkeypatch.setattr(apart, "_SECONDS", 2)
    with pytest.raises(StorageError, match=rf"run\.h5 .*{message}"):
        apart.apart(function, stored)


def test_no_interpreter_to_look_at_a_file(stored, monkeypatch):
    edit(stored, note="x")
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(StorageError, match=r"run\.h5 cannot be read: no process could be started"):
        dmft.load(stored)


# ---- files that are not damaged at all


HOLDER = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.read()"


@contextlib.contextmanager
def holder(path):
    """Another program that has a file open for writing."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process


def test_file_that_another_program_has_open(stored, whole):
    with holder(stored) as program:
        for read in (dmft.load, storage.info, whole.save):
            with pytest.raises(StorageError, match=r"run\.h5 is open for writing in another program: close it there") as error:
                read(stored)
            assert "damaged" not in str(error.value) and "not a dmft" not in str(error.value)
        program.kill()
    with pytest.raises(StorageError, match=r"run\.h5 is marked as open for writing: .*h5clear -s .*run\.h5"):
        dmft.load(stored)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_file_system_without_locks(code, stored, whole, monkeypatch):
    class WithoutLocks(h5py.File):
        def __init__(self, name, mode="r", locking=None, **options):
            if locking is not False:
                raise OSError(code, f"Unable to synchronously open file (unable to lock file, errno = {code})")
            super().__init__(name, mode, locking=locking, **options)

    with monkeypatch.context() as patch:
        patch.setattr(storage.h5py, "File", WithoutLocks)
        assert_same(dmft.load(stored), whole)
        assert "completed" in storage.info(stored)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_file_that_the_system_cannot_read(code, stored, whole, monkeypatch):
    def broken(path):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(storage, "is_sealed", broken)
    for call in (dmft.load, storage.info, whole.save):
        with pytest.raises(StorageError, match=rf"run\.h5 cannot be read: {os.strerror(code)}"):
            call(stored)


# ---- files of other versions


def test_newer_schema_asks_for_an_upgrade_and_info_still_describes_it(stored):
    edit(stored, schema=7)
    with pytest.raises(StorageError, match=r"run\.h5 .*written by schema 7, this version reads up to 2; upgrade dmft"):
        dmft.load(stored)
    text = storage.info(stored)
    assert "schema 7" in text and "no: written by schema 7" in text and "completed" in text


@pytest.mark.parametrize("change", [rewritten, lambda path: h5py.File(path, "r+")], ids=["a later version", "another program"])
def test_unknown_additions_of_the_same_schema_are_read_over(change, stored, whole):
    with change(stored) as file:
        file.attrs["remark"] = "from a later version"
        file["kernels/extra"] = np.arange(3)
    assert_same(dmft.load(stored), whole)
    resumed = dmft.resume(stored, steps=95, progress=False)
    assert_same(dmft.load(stored), resumed)
    assert sealed_file.is_sealed(stored)
    with h5py.File(stored) as file:
        assert ("remark" in file.attrs) == (change is rewritten)


def with_problem(path, change):
    """Change the stored problem, with its fingerprint."""
    with rewritten(path) as file:
        spec = json.loads(file.attrs["spec"])
        change(spec)
        text = json.dumps(spec)
        file.attrs.update(spec=text, spec_sha256=hashlib.sha256(text.encode()).hexdigest())


@pytest.mark.parametrize("change", [lambda spec: spec["network"].update(type="Transformer"), lambda spec: spec["data"].update(skew=1.0)])
def test_unknown_problem_asks_for_an_upgrade(stored, change):
    with_problem(stored, change)
    with pytest.raises(StorageError, match=r"run\.h5 .*does not know.*upgrade dmft"):
        dmft.load(stored)
    assert "does not know" in storage.info(stored)


def test_fields_that_an_older_version_did_not_have_take_their_defaults(stored, whole):
    with_problem(stored, lambda spec: spec["training"].pop("nesterov"))
    assert_same(dmft.load(stored), whole)


@pytest.mark.parametrize("attributes", [{"finished": 50}, {"status": "resting"}, {"report": "{"}, {"schema": "one"}])
def test_inconsistent_file_is_damaged(stored, attributes):
    with rewritten(stored) as file:
        file.attrs.update(attributes)
    with pytest.raises(StorageError, match=r"run\.h5 is damaged"):
        dmft.load(stored)


def test_missing_and_foreign_files(tmp_path):
    path = tmp_path / "run.h5"
    for read in (dmft.load, storage.info, lambda path: dmft.resume(path, steps=9)):
        with pytest.raises(StorageError, match=r"run\.h5 does not exist"):
            read(path)
    assert os.listdir(tmp_path) == []
    path.write_text("a week of work")
    with pytest.raises(StorageError, match="not an HDF5 file"):
        dmft.load(path)
    with h5py.File(path, "w") as file:
        file["work"] = np.arange(3)
        file.attrs["report"] = "of another program"
    with pytest.raises(StorageError, match="not a file of dmft"):
        dmft.load(path)
    assert "no: it is not a file of dmft" in storage.info(path) and "of another program" in storage.info(path)


def test_reading_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, kind in (("fifo", "a FIFO"), (".", "a folder")):
        for read in (dmft.load, storage.info):
            with pytest.raises(StorageError, match=f"is {kind}, not a regular file"):
                read(tmp_path / name)
    with pytest.raises(ValueError, match="null characters"):
        dmft.load("run\0.h5")


def test_info(stored):
    text = storage.info(stored)
    for part in ("dmft-trajectory, schema 2", "readable", "completed", "91", "DeepLinear", "numpy", "created", "kernels/Ch", "MiB"):
        assert part in text


# ---- every schema ever written stays readable


@pytest.mark.parametrize("path", SCHEMA_1, ids=lambda path: path.stem)
def test_schema_1(path, older, tmp_path):
    """All arrays, by their present names, as the version that wrote the file read them; saved again, in the present schema, the same."""
    sums = json.loads((STORED / "schema-1-sums.json").read_text())[path.name]
    after = older[path.name]
    assert {name: array.sum() for name, array in after.arrays().items()} == {NEW_NAMES.get(name, name): sum_ for name, sum_ in sums.items()}
    after.save(tmp_path / "run.h5")
    assert_same(dmft.load(tmp_path / "run.h5"), after)
    assert "schema 2" in storage.info(tmp_path / "run.h5")


def test_files_of_schema_1_are_of_every_kind(older):
    kinds = [(type(result), type(result.network)) for result in older.values()]
    networks = {dmft.DeepLinear, dmft.ShallowNet, dmft.DeepNet, dmft.MLP}
    assert {network for kind, network in kinds if issubclass(kind, dmft.Trajectory)} == networks
    assert {network for kind, network in kinds if issubclass(kind, dmft.Ensemble)} == networks


def test_problem_of_schema_1(older):
    after = older[LINEAR.name]
    assert after.status is dmft.Status.COMPLETED and after.finished == 7
    assert after.network == dmft.DeepLinear(depth=1, width_ratio=2.0, richness=0.8, outputs=2)
    assert after.data.target_overlap.tolist() == [[1.0, 0.3], [0.3, 0.7]]
    assert after.training == dmft.GradientDescent([0.2 / (1 + step) for step in range(6)], 6, momentum=0.5)
    assert after.test_loss[[0, 1, 6]] == pytest.approx([3.2625, 1.507568, 0.7591027367436416], rel=1e-12)
    assert after.correlation("h", layer=1)[6, 1, 0, 0] == pytest.approx(-0.003864960178001705, rel=1e-12)
    ensemble = older["schema-1-deep-linear-ensemble.h5"]
    assert ensemble.widths == (40,) and ensemble.samples == 30 and len(ensemble.times) == 7
    assert ensemble.test_loss[:, -1] == pytest.approx([1.1198384734228217, 0.7253644744646099], rel=1e-12)


def test_resume_of_schema_1_writes_the_present_schema(tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(LINEAR.read_bytes())
    before = dmft.load(path)
    rates = [*before.training.learning_rate, 0.02, 0.01]
    resumed = dmft.resume(path, steps=8, learning_rate=rates, progress=False)
    training = dataclasses.replace(before.training, steps=8, learning_rate=rates)
    longer = dmft.solve(before.network, before.data, training, progress=False)
    assert resumed.test_loss == pytest.approx(longer.test_loss, rel=1e-12)
    resumed.save(tmp_path / "saved.h5")
    assert_same(dmft.load(path), dmft.load(tmp_path / "saved.h5"))
    assert sealed_file.is_sealed(path) and "schema 2" in storage.info(path)


def test_edited_problem_of_schema_1_is_refused(tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(LINEAR.read_bytes())
    edit(path, spec=h5py.File(path).attrs["spec"].replace("0.8", "0.7"))
    with pytest.raises(StorageError, match=r"run\.h5 .*edited.*solve the edited problem anew"):
        dmft.load(path)
