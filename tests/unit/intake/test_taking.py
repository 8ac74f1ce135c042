"""Drops are taken in whole, bounded and unmoving, or refused with findings."""

import io
import os
import random
import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import intake.taking
from intake import FetchedDrop, Limits, open_taken, take_in
from protocol.errors import LinkarmsError, NotYet
from protocol.finding import Scope
from protocol.model import Mapping, Partner

Taking = Callable[..., Any]


def test_folder_and_archive_of_the_same_files_are_the_same_submission(
    take: Taking, drop_folder: Taking, drop_archive: Taking, files: dict[str, bytes]
) -> None:
    as_folder, findings = take(drop_folder(files))
    assert findings == ()
    turned = dict(reversed(files.items()))
    as_archive, _ = take(drop_archive(turned, "other name.zip"))
    with_top, _ = take(drop_archive(turned, "third.zip", top="2026-Q1/"))
    assert as_folder.submission_id == as_archive.submission_id == with_top.submission_id
    assert as_folder.submission_id.startswith("sub-")
    assert len(as_folder.submission_id) == 24
    assert [file.name for file in with_top.files] == ["assessment.csv", "person.csv"]


def test_any_other_content_or_partner_is_another_submission(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], make_partner: Callable[..., Partner]
) -> None:
    ids = [take(drop_folder(files))[0].submission_id]
    ids.append(take(drop_folder(files, "b"), by=make_partner(partner_id="bridge_housing"))[0].submission_id)
    ids.append(take(drop_folder(files | {"person.csv": b"x"}, "c"))[0].submission_id)
    ids.append(take(drop_folder(files | {"cost.csv": b""}, "d"))[0].submission_id)
    ids.append(take(drop_folder(files | {"manifest.yaml": b"x"}, "e"))[0].submission_id)
    swapped = files | {"person.csv": files["assessment.csv"], "assessment.csv": files["person.csv"]}
    ids.append(take(drop_folder(swapped, "f"))[0].submission_id)
    assert len(set(ids)) == len(ids)


def test_name_of_the_drop_counts_where_it_stands_for_the_manifest(
    take: Taking, drop_folder: Taking, make_partner: Callable[..., Partner]
) -> None:
    exporting = make_partner(Mapping(manifest_from_name=True))
    one, _ = take(drop_folder({"a.csv": b"x"}, "2026-Q1"), by=exporting)
    two, _ = take(drop_folder({"a.csv": b"x"}, "2026-Q2"), by=exporting)
    assert one.submission_id != two.submission_id


def test_work_folder_is_private_and_names_in_it_are_our_own(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], tmp_path: Path
) -> None:
    taken, _ = take(drop_folder(files | {"Größe é.csv": b"a\n"}))
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700
    for path in taken.folder.iterdir():
        assert path.name in {"manifest", "index.json"} or path.stem.isdigit()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_taking_again_after_a_killed_run_is_clean(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], tmp_path: Path
) -> None:
    drop = drop_folder(files)
    (tmp_path / "work" / "taking.part").mkdir(parents=True)
    (tmp_path / "work" / "taking.part" / "0000.csv").write_bytes(b"half")
    first, _ = take(drop)
    again, _ = take(drop)
    assert first == again
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["taken"]


def test_taken_drop_is_opened_again_in_another_process_and_place(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], tmp_path: Path
) -> None:
    taken, _ = take(drop_folder(files))
    assert open_taken(tmp_path / "work") == taken
    (tmp_path / "work").rename(tmp_path / "moved")
    again = open_taken(tmp_path / "moved")
    assert again.submission_id == taken.submission_id
    assert all(file.path.is_file() for file in (*again.files, again.manifest))


def test_litter_of_operating_systems_and_the_ready_flag_are_left_out(
    take: Taking, drop_archive: Taking, files: dict[str, bytes]
) -> None:
    litter = {"__MACOSX/._person.csv": b"x", ".DS_Store": b"x", "Thumbs.db": b"x", "ready": b""}
    plain, _ = take(drop_archive(files))
    littered, findings = take(drop_archive(files | litter, "b.zip"))
    assert findings == ()
    assert littered.submission_id == plain.submission_id


def test_mark_that_a_workbook_is_open_in_excel_is_left_out(
    take: Taking, drop_folder: Taking, files: dict[str, bytes]
) -> None:
    taken, findings = take(drop_folder(files | {"~$person.xlsx": b"\x05Jo"}))
    assert findings == ()
    assert {file.name for file in taken.files} == {name for name in files if name.endswith(".csv")}


def test_files_are_counted_in_the_order_of_a_file_manager(
    take: Taking, drop_folder: Taking, files: dict[str, bytes]
) -> None:
    taken, _ = take(drop_folder(files | {"Old.csv": b"a\n"}))
    assert [file.name for file in taken.files] == ["assessment.csv", "Old.csv", "person.csv"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../person.csv", "drop.path"),
        ("/etc/person.csv", "drop.path"),
        ("C:person.csv", "drop.path"),
        ("C:/person.csv", "drop.path"),
        ("a\\person.csv", "drop.path"),
        ("..\\..\\person.csv", "drop.path"),
        ("x/../person.csv", "drop.path"),
        ("x//person.csv", "drop.path"),
        ("x/person.csv", "drop.subfolder"),
        ("inner.zip", "drop.ending"),
        ("person.xls", "drop.ending"),
        ("person.csv.exe", "drop.ending"),
        ("person\n.csv", "drop.file_name"),
        ("<b>.csv", "drop.file_name"),
        ("manifest.yaml.txt", "drop.manifest_name"),
        ("Manifest.txt", "drop.manifest_name"),
        ("PERSON.csv", "drop.same_name"),
        ("manifest.json", "drop.two_manifests"),
    ],
)
def test_archive_with_a_hostile_or_odd_entry_is_refused(
    take: Taking, drop_archive: Taking, files: dict[str, bytes], codes: Taking, tmp_path: Path, name: str, code: str
) -> None:
    before = set(tmp_path.rglob("*"))
    taken, findings = take(drop_archive(files | {name: b"x"}))
    assert taken is None
    assert code in codes(findings)
    assert all(finding.scope is Scope.SUBMISSION for finding in findings)
    new = set(tmp_path.rglob("*")) - before
    assert {path.name for path in new} == {"inbox", "2026-Q1.zip", "work"}


def test_every_fault_of_a_drop_is_told_at_once_and_none_of_its_names(
    take: Taking, drop_archive: Taking, codes: Taking, canary: str
) -> None:
    taken, findings = take(
        drop_archive({f"{canary}.xlsm": b"", f"../{canary}.csv": b"", f"{canary}/a.csv": b"", f"{canary}?.csv": b""})
    )
    assert taken is None
    assert codes(findings) == ["drop.ending", "drop.file_name", "drop.path", "drop.subfolder"]
    assert canary not in repr(findings)


def test_link_in_a_folder_is_refused_and_not_followed(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], codes: Taking, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    drop = drop_folder(files)
    (drop.path / "cost.csv").symlink_to(tmp_path / "secret")
    taken, findings = take(drop)
    assert taken is None
    assert codes(findings) == ["drop.link"]


def test_link_to_a_folder_inside_a_drop_is_not_entered(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], codes: Taking, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cost.csv").write_bytes(b"")
    drop = drop_folder(files)
    (drop.path / "linked.csv").symlink_to(tmp_path / "elsewhere")
    assert codes(take(drop)[1]) == ["drop.link"]


def test_link_that_takes_the_place_of_the_drop_while_it_is_read_is_not_followed(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = drop_folder(files)
    neighbours = drop_folder({name: content[::-1] for name, content in files.items()}, "another partner's")
    aside = tmp_path / "aside"
    real = intake.taking._list_folder

    def list_and_swap(folder: Path, limits: Limits) -> Any:
        # Whenever the drop is looked through it is itself, and whenever a file is opened it is the link.
        if drop.path.is_symlink():
            drop.path.unlink()
            aside.rename(drop.path)
        listing = real(folder, limits)
        drop.path.rename(aside)
        drop.path.symlink_to(neighbours.path)
        return listing

    monkeypatch.setattr(intake.taking, "_list_folder", list_and_swap)
    with pytest.raises(NotYet):
        take(drop)


def test_drop_that_is_itself_a_link_is_refused(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], codes: Taking, tmp_path: Path
) -> None:
    drop = drop_folder(files)
    link = tmp_path / "inbox" / "link"
    link.symlink_to(drop.path)
    assert codes(take(FetchedDrop(link, "link"))[1]) == ["drop.link"]


def test_pipe_that_poses_as_a_file_is_refused_without_waiting(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], codes: Taking
) -> None:
    drop = drop_folder(files)
    os.mkfifo(drop.path / "cost.csv")
    assert codes(take(drop)[1]) == ["drop.link"]


def test_link_in_an_archive_is_refused(
    take: Taking, drop_archive: Taking, files: dict[str, bytes], codes: Taking
) -> None:
    drop = drop_archive(files)
    with zipfile.ZipFile(drop.path, "a") as archive:
        info = zipfile.ZipInfo("cost.csv")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert codes(take(drop)[1]) == ["drop.link"]


def test_lone_file_is_refused_with_a_hint_to_use_a_folder(take: Taking, tmp_path: Path, codes: Taking) -> None:
    (tmp_path / "person.csv").write_bytes(b"a")
    taken, findings = take(FetchedDrop(tmp_path / "person.csv", "person.csv"))
    assert taken is None
    assert codes(findings) == ["drop.kind"]
    assert "folder" in findings[0].mend


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip", b"PK\x05\x06" + b"\0" * 18])
def test_damaged_or_empty_archive_is_refused(take: Taking, tmp_path: Path, codes: Taking, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    taken, findings = take(FetchedDrop(tmp_path / "a.zip", "a.zip"))
    assert taken is None
    assert codes(findings) in (["drop.archive"], ["drop.empty"])


def test_archive_that_points_beyond_any_file_is_refused(
    take: Taking, drop_archive: Taking, files: dict[str, bytes], codes: Taking
) -> None:
    """A ZIP64 entry whose data are said to lie at 2**62, where the operating system refuses to look."""
    drop = drop_archive({"person.csv": files["person.csv"]})
    content = bytearray(drop.path.read_bytes())
    at, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    extra = struct.pack("<HHQ", 1, 8, 1 << 62)
    struct.pack_into("<H", content, at + 30, len(extra))
    struct.pack_into("<I", content, at + 42, 0xFFFFFFFF)
    struct.pack_into("<I", content, end + 12, end - at + len(extra))
    content[end:end] = extra
    drop.path.write_bytes(content)
    taken, findings = take(drop)
    assert taken is None
    assert codes(findings) == ["drop.archive"]


def test_archive_whose_packed_data_are_damaged_is_refused_whatever_packed_them(
    take: Taking, codes: Taking, files: dict[str, bytes], tmp_path: Path
) -> None:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / f"{method}.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("person.csv", files["person.csv"] * 100)
        content = bytearray(path.read_bytes())
        content[50:70] = b"\xff" * 20
        path.write_bytes(content)
        assert codes(take(FetchedDrop(path, path.name))[1]) == ["drop.archive"], method


@pytest.mark.parametrize("levels", [30, None])
def test_tree_of_folders_beyond_measure_is_refused_without_its_names(
    take: Taking,
    drop_folder: Taking,
    files: dict[str, bytes],
    codes: Taking,
    canary: str,
    make_deep: Callable[[Path], None],
    levels: int | None,
) -> None:
    drop = drop_folder(files)
    if levels:
        drop.path.joinpath(*[canary] * levels).mkdir(parents=True)
    else:
        make_deep(drop.path)
    taken, findings = take(drop)
    assert taken is None
    assert codes(findings) == ["drop.too_deep"]
    assert canary not in repr(findings)


def test_encrypted_entry_is_refused(take: Taking, drop_archive: Taking, files: dict[str, bytes], codes: Taking) -> None:
    drop = drop_archive(files)
    content = bytearray(drop.path.read_bytes())
    content[6] |= 1
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    drop.path.write_bytes(content)
    assert codes(take(drop)[1]) == ["drop.encrypted"]


def test_entry_whose_checksum_is_wrong_is_refused(
    take: Taking, drop_archive: Taking, files: dict[str, bytes], codes: Taking
) -> None:
    drop = drop_archive(files)
    content = bytearray(drop.path.read_bytes())
    content[content.index(b"PK\x01\x02") + 16] ^= 1
    content[14] ^= 1
    drop.path.write_bytes(content)
    assert codes(take(drop)[1]) == ["drop.archive"]


def test_bomb_is_told_by_its_ratio_before_it_is_unpacked(
    take: Taking, drop_archive: Taking, codes: Taking, tmp_path: Path
) -> None:
    drop = drop_archive({"person.csv": b"0" * (20 << 20)})
    taken, findings = take(drop)
    assert taken is None
    assert codes(findings) == ["drop.ratio"]


def test_archive_that_understates_its_sizes_is_stopped_at_what_it_said(
    take: Taking, drop_archive: Taking, codes: Taking
) -> None:
    drop = drop_archive({"person.csv": b"0123456789" * 100_000})
    content = bytearray(drop.path.read_bytes())
    at = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 10)
    struct.pack_into("<I", content, 22, 10)
    drop.path.write_bytes(content)
    taken, findings = take(drop)
    assert taken is None
    assert codes(findings)[0] in {"drop.archive", "drop.too_large"}


def test_limits_on_size_and_number_of_files_are_kept(
    take: Taking, drop_folder: Taking, drop_archive: Taking, codes: Taking
) -> None:
    many = {f"f{number}.csv": bytes(1000) for number in range(12)}
    limits = Limits(max_total_bytes=10_000, max_files=10)
    for drop in (drop_folder(many), drop_archive(many)):
        taken, findings = take(drop, limits)
        assert taken is None
        assert codes(findings) == ["drop.too_large", "drop.too_many_files"]


def test_endless_folder_is_not_walked_to_its_end(take: Taking, drop_folder: Taking, codes: Taking) -> None:
    drop = drop_folder({f"f{number}.csv": b"" for number in range(300)})
    assert codes(take(drop, Limits(max_files=10))[1]) == ["drop.too_many_files"]


def test_archive_with_a_directory_beyond_measure_is_refused_unread(take: Taking, tmp_path: Path, codes: Taking) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(40_000):
            archive.writestr(f"{number}.csv", b"")
    taken, findings = take(FetchedDrop(tmp_path / "a.zip", "a.zip"), Limits(max_files=10))
    assert taken is None
    assert codes(findings) == ["drop.archive"]


def test_empty_drop_is_refused(take: Taking, drop_folder: Taking, drop_archive: Taking, codes: Taking) -> None:
    assert codes(take(drop_folder({}))[1]) == ["drop.empty"]
    assert codes(take(drop_archive({}))[1]) == ["drop.empty"]


@pytest.mark.parametrize("change", ["content", "size", "new", "gone", "exchanged"])
def test_drop_that_changes_while_it_is_read_is_left_for_later(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    drop = drop_folder(files)
    person = drop.path / "person.csv"
    original = intake.taking._copy

    def copy_and_change(entry: Any, target: Path, most: int) -> Any:
        result = original(entry, target, most)
        if entry.parts[-1] == "person.csv":
            status = person.stat()
            if change == "content":
                person.write_bytes(files["person.csv"].replace(b"Smith", b"Smyth"))
                os.utime(person, ns=(status.st_atime_ns, status.st_mtime_ns))
            elif change == "size":
                person.write_bytes(b"more" * 1000)
            elif change == "new":
                (drop.path / "cost.csv").write_bytes(b"")
            elif change == "gone":
                person.unlink()
            else:
                person.unlink()
                person.write_bytes(files["person.csv"])
                os.utime(person, ns=(status.st_atime_ns, status.st_mtime_ns - 1))
        return result

    monkeypatch.setattr(intake.taking, "_copy", copy_and_change)
    with pytest.raises(NotYet):
        take(drop)


def test_file_that_grows_between_listing_and_copying_is_left_for_later(
    take: Taking, drop_folder: Taking, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = drop_folder(files)
    original = intake.taking._look_over

    def look_and_grow(*arguments: Any) -> Any:
        yield from original(*arguments)
        with (drop.path / "person.csv").open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(intake.taking, "_look_over", look_and_grow)
    with pytest.raises(NotYet):
        take(drop)


def test_archive_that_changes_while_it_is_read_is_left_for_later(
    take: Taking, drop_archive: Taking, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = drop_archive(files)
    original = intake.taking._copy

    def copy_and_change(entry: Any, target: Path, most: int) -> Any:
        with drop.path.open("ab") as file:
            file.write(b"x")
        return original(entry, target, most)

    monkeypatch.setattr(intake.taking, "_copy", copy_and_change)
    with pytest.raises(NotYet):
        take(drop)


def test_drop_that_is_gone_is_told_without_its_name(take: Taking, tmp_path: Path, canary: str) -> None:
    with pytest.raises(NotYet) as error:
        take(FetchedDrop(tmp_path / canary, canary))
    assert canary not in str(error.value)
    assert error.value.__cause__ is None


_names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.dictionaries(st.one_of(_names, _names.map(lambda name: name + ".csv")), st.binary(max_size=50)),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 30),
)
def test_no_archive_however_spoilt_crashes_or_writes_elsewhere(
    partner: Partner, entries: dict[str, bytes], flips: list[tuple[int, int]], cut: int
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", random.Random(len(entries)).choice([0, 8])) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    spoilt = bytearray(buffer.getvalue())
    for at, value in flips:
        spoilt[at % len(spoilt)] = value
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "a.zip"
        path.write_bytes(spoilt[: len(spoilt) - cut])
        try:
            taken, findings = take_in(FetchedDrop(path, "a.zip"), Path(root) / "work", Limits(), partner)
        except LinkarmsError:
            return
        assert (taken is None) == bool(findings)
        assert {entry.name for entry in Path(root).iterdir()} == {"a.zip", "work"}
