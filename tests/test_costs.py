"""Amounts of work, the fitted cost model and prices: on numbers made by hand, without timings."""

import importlib
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_lab import costs, works
from w2s_lab.costs import Machine, Measurement
from w2s_lab.errors import W2SError
from w2s_lab.works import Shape, Texts, Work

TINY = Shape("tiny", blocks=2, block=1000, dim=10, embed=500, keys=5)
RATE = 1e9
TRUE = {
    **{"start": 0.5, "items": 1e-3, "tokens": 1e-5, "states": 5e-7},
    **{"flops": 2e-9, "attention": 5e-9},
}


def reading(items: float, length: float, shape: Shape = TINY, *, pooled: bool = False) -> Work:
    texts = Texts(items, items * length, items * length**2)
    return works.read(shape, texts, pooled=pooled, name=f"{items} of {length}")


def measured(work: Work, error: float = 0.0) -> Measurement:
    seconds = sum(TRUE[term] * work.amounts[term] for term in works.TERMS["read"])
    return Measurement(work, seconds * (1 + error))


STILL = replace(TINY, name="still", blocks=0)  # tells the host's work from operations
SIZES = [(100, 50), (1000, 20), (50, 400), (400, 150), (700, 90)]


@pytest.fixture(scope="module")
def model() -> costs.CostModel:
    return costs.fit(exact(), RATE)


def exact() -> list[Measurement]:
    some = [reading(*size, shape) for size in SIZES for shape in (TINY, STILL)]
    some += [reading(*size, STILL, pooled=True) for size in SIZES]
    return [measured(work) for work in some] * 3


# --- amounts --------------------------------------------------------------------------------------


def test_a_forward_pass_takes_two_operations_for_each_weight_and_token():
    # 2 blocks · 1,000 weights · 2 · (30 + 70) tokens = 400,000
    work = works.read(TINY, Texts.of([30, 70]))
    assert work.amounts["flops"] == 400_000
    # Σ length² = 900 + 4,900 = 5,800; 2 · 2 blocks · 10 dims · 5,800 = 232,000
    assert work.amounts["attention"] == 232_000


def test_training_takes_six_operations_for_each_weight_and_token():
    # 6 · (2 · 1,000 · 100 in the blocks + 500 · 40 in the head) = 6 · 220,000; twice for two epochs
    work = works.tune(TINY, Texts.of([30, 70]), targets=40, epochs=2, budget=64)
    assert work.amounts["flops"] == 2 * 6 * 220_000
    assert work.amounts["attention"] == 2 * 3 * 232_000
    # 100 tokens in steps of 64 are 2 steps, and as many again
    assert work.amounts["steps"] == 4


def test_a_context_adds_the_term_of_kaplan_to_each_token():
    # One text of n tokens: 2 · n_layer · n_ctx · d for each token, so 2 · 2 · 50 · 10 · 50 tokens
    assert works.attention(TINY, 50**2) == 2 * 2 * 50 * 10 * 50


def test_a_token_that_sees_both_ways_attends_to_twice_as_much():
    both = replace(TINY, two_way=True)
    assert works.attention(both, 100) == 2 * works.attention(TINY, 100)


def test_the_embedding_alone_multiplies_nothing():
    work = works.read(works.STATIC, Texts.of([10, 20]), pooled=True)
    assert work.amounts["flops"] == work.amounts["attention"] == 0
    assert work.disk == 2 * 384 * 2  # two means of 384 numbers of two bytes


def test_padding_is_computed_and_not_kept():
    texts, padded = Texts.of([30, 70]), Texts.of([70, 70])
    work = works.read(TINY, texts, padded=padded)
    assert work.amounts["flops"] == 2 * 2000 * 140
    assert work.amounts["tokens"] == 100
    assert work.disk == 100 * 10 * 2


def test_a_document_is_read_once_however_many_questions_it_is_asked():
    papers = Texts.of([100.0] * 4)
    one = works.write(TINY, papers, questions=1, asked=10, answer=5, limit=8)
    three = works.write(TINY, papers, questions=3, asked=10, answer=5, limit=8)
    # a question more: 4 · (10 tokens asked · 2,000 + 5 written · (2,000 + 500 of the head)) · 2
    assert three.amounts["flops"] - one.amounts["flops"] == 2 * 4 * 2 * (10 * 2000 + 5 * 2500)
    # 12 answers fit side by side: one batch of 8 steps, as for 4 answers
    assert three.amounts["steps"] == one.amounts["steps"] == 8


def test_what_is_asked_and_said_looks_back_at_all_before_it():
    work = works.write(TINY, Texts.of([100.0]), asked=10, answer=4, limit=4)
    # document 2 · 2 blocks · 10 dims · 100² = 400,000; 4 · 10 dims · 2 blocks ·
    # (10 asked · (100 + 5 on the mean) + 4 said · (110 + 2)) = 80 · 1,498 = 119,840
    assert work.amounts["attention"] == 400_000 + 119_840


def test_keys_and_values_of_a_prompt_take_two_bytes_each():
    work = works.write(TINY, Texts.of([100.0]), asked=10, answer=4, limit=4)
    assert work.disk == 110 * 2 * (2 * 5) * 2  # tokens · blocks · keys and values · bytes


def test_a_head_takes_eight_operations_for_each_number_of_a_query_and_token():
    texts = Texts.of([50.0] * 128)
    work = works.train(texts, students=3, epochs=2, dim=10, queries=4, padding=1.5)
    assert work.amounts["flops"] == 8 * 3 * 4 * 10 * 2 * 1.5 * 6400
    assert work.amounts["steps"] == 2 * 2  # 128 clauses in batches of 64, twice


@given(st.lists(st.integers(1, 300), min_size=1, max_size=20), st.integers(2, 50))
def test_many_texts_of_the_same_mix_take_so_many_times_the_operations(lengths, times):
    texts = Texts.of(lengths)
    once = works.read(TINY, texts).amounts
    more = works.read(TINY, texts.scaled(times * len(lengths))).amounts
    for term in ("items", "tokens", "flops", "attention"):
        assert more[term] == pytest.approx(times * once[term])


def test_ten_million_clauses_would_keep_more_than_half_a_terabyte_of_states():
    # 10⁷ · 1,254,039 / 13,782 tokens · 384 numbers · 2 bytes = 0.699 TB
    *_, labels = works.clauses()
    assert labels.disk == pytest.approx(0.699e12, rel=1e-3)


def test_the_mean_square_of_a_pair_is_that_of_the_sum_of_its_lengths():
    _, learn = works.papers(100, epochs=1)
    assert learn.amounts["attention"] > 3 * works.attention(works.SMOLLM2, 3 * works.PAPERS.squares)
    # 300 pairs of (496.21 + 47) tokens; Σ (l + 47)² = Σ l² + 2 · 47 · Σ l + 100 · 47²
    squares = 25_193_909 + 94 * 49_621 + 100 * 2209
    assert learn.amounts["attention"] == pytest.approx(3 * 2 * 30 * 576 * 3 * squares)


@pytest.mark.parametrize("amount", [-1.0, float("inf"), float("nan")])
def test_an_amount_that_cannot_be_is_refused(amount):
    with pytest.raises(W2SError, match="tokens is"):
        Work("odd", "read", "tiny", {"tokens": amount})


def test_an_unknown_kind_of_work_is_refused_with_the_known_ones():
    with pytest.raises(W2SError, match="read, train, write, tune"):
        Work("odd", "dream", "tiny", {})


def test_the_shape_of_minilm_is_that_of_its_configuration():
    from transformers import AutoConfig

    from w2s_lab.models import LADDER, trunk

    config = AutoConfig.from_pretrained(trunk("minilm", device="cpu").folder)
    dim, inner = config.hidden_size, config.intermediate_size
    # queries, keys, values and output with their biases, two layers, two norms
    block = 4 * (dim * dim + dim) + 2 * dim * inner + inner + dim + 4 * dim
    assert (works.MINILM.dim, works.MINILM.block) == (dim, block)
    assert works.MINILM.blocks == LADDER["minilm"][1] and works.STATIC.blocks == 0


def test_the_shape_of_smollm2_is_that_of_its_configuration():
    from transformers import AutoConfig

    from w2s_lab.models import LADDER, trunk

    found = trunk("smollm2", device="cpu")
    config, shape = AutoConfig.from_pretrained(found.folder), works.SMOLLM2
    dim, inner = config.hidden_size, config.intermediate_size
    keys = config.num_key_value_heads * config.head_dim
    # queries and output, keys and values, three layers of the feed-forward part, two norms
    block = 2 * dim * dim + 2 * dim * keys + 3 * dim * inner + 2 * dim
    known = (shape.blocks, shape.block, shape.dim, shape.keys, shape.embed)
    assert known == (config.num_hidden_layers, block, dim, keys, config.vocab_size * dim)
    assert works.READER.blocks == LADDER["smollm2"][1]


def test_states_take_the_bytes_that_are_counted(tmp_path, monkeypatch):
    from tiny_models import save_model

    from w2s_lab.features import token_states
    from w2s_lab.models import trunk

    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    reader = trunk(str(save_model(tmp_path / "model")), device="cpu")
    states = token_states(reader, ["w1 w2 w3", "w4", "w5 w6 " * 40])
    shape = Shape("tiny", blocks=reader.layer, block=0, dim=32)
    counted = works.read(shape, Texts.of(states.lengths)).disk
    (file,) = (tmp_path / "cache").rglob("states.npy")
    assert counted == states.flat.nbytes
    assert 0 <= file.stat().st_size - counted <= 256  # NumPy's header


# --- the fit --------------------------------------------------------------------------------------


def test_exact_measurements_give_back_their_coefficients(model):
    for term, seconds in TRUE.items():
        name = f"read {term}" + (" tiny" if term in works.ARITHMETIC else "")
        assert model.coefficients[name] == pytest.approx(seconds, rel=1e-5)


def test_a_larger_size_that_was_not_measured_is_predicted(model):
    larger = reading(5000, 120)
    error = costs.errors(model, [measured(larger), measured(larger, 0.1)])[larger.name]
    # against a tenth more the prediction is 1 / 1.1 − 1 = −9.1 %; the median of 0 and that is half
    assert (error.low, error.high) == pytest.approx((1 / 1.1 - 1, 0), abs=1e-6)
    assert error.value == pytest.approx((1 / 1.1 - 1) / 2, abs=1e-6)


@settings(max_examples=10)  # each resamples 500 times
@given(st.lists(st.floats(-0.3, 0.3), min_size=10, max_size=10))
def test_no_cost_is_below_nothing_whatever_the_noise(noise):
    some = [reading(*size) for size in SIZES]
    some += [reading(*size, STILL, pooled=True) for size in SIZES]
    some = [measured(work, e) for work, e in zip(some, noise, strict=True)]
    found = costs.fit(some, RATE)
    assert min(found.coefficients.values()) >= 0
    assert min(draws.min() for draws in found.resampled.values()) >= 0


def test_it_is_the_relative_error_that_is_least():
    # Two works of one term, 1 and 100 operations that took 1 s and 200 s: of c and c / 2 both
    # should be 1, so c minimizes (c − 1)² + (c / 2 − 1)²: c = 1.5 / 1.25 = 1.2. By absolute errors
    # it would be 1.9999.
    def one(flops):
        return Work(f"{flops}", "tune", "tiny", {"flops": flops})

    found = costs.fit([Measurement(one(1.0), 1.0), Measurement(one(100.0), 200.0)], RATE)
    assert found.coefficients == pytest.approx({"tune flops tiny": 1.2})


def test_models_share_the_hosts_work_and_each_has_its_own_rate():
    other = replace(TINY, name="other", blocks=4)
    some = exact()
    for size in SIZES:
        work = reading(*size, other)
        seconds = sum(
            TRUE[t] * work.amounts[t] * (3 if t == "flops" else 1) for t in works.TERMS["read"]
        )
        some.append(Measurement(work, seconds))
    found = costs.fit(some, RATE).coefficients
    assert sum("tokens" in name for name in found) == 1
    assert found["read flops other"] == pytest.approx(3 * found["read flops tiny"], rel=1e-4)


def test_the_range_holds_the_value_and_widens_with_the_noise(model):
    work = reading(2000, 100)
    rng = np.random.default_rng(0)
    noisy = [replace(m, seconds=m.seconds * (1 + rng.normal(0, 0.1))) for m in exact()]
    spread, sure = costs.fit(noisy, RATE).seconds(work), model.seconds(work)
    assert spread.low < spread.value < spread.high
    assert sure.high - sure.low < 1e-3 * sure.value < spread.high - spread.low


def test_the_same_measurements_give_the_same_ranges(model):
    again = costs.fit(exact(), RATE)
    assert all((model.resampled[k] == again.resampled[k]).all() for k in model.resampled)


def test_a_share_is_of_the_machines_own_matrix_product(model):
    # 2 ns for an operation is half of a rate of 1 per ns
    assert model.share("read", "tiny") == pytest.approx(0.5)


def test_a_product_that_the_fit_finds_free_has_no_share_of_the_rate():
    free = costs.CostModel({"read flops tiny": 0.0}, {"read flops tiny": np.zeros(9)}, RATE)
    text = str(free.table())
    assert "not told apart" in text and "%" not in text and "inf" not in text


def test_fewer_sizes_than_coefficients_are_refused():
    with pytest.raises(W2SError, match="2 sizes for 6 coefficients"):
        costs.fit([measured(reading(*size)) for size in SIZES[:2]], RATE)


@pytest.mark.parametrize(
    "measurements, rate, what",
    [
        ([], RATE, "0 measurements"),
        ([measured(reading(1, 2))], 0.0, "a rate of 0"),
        ([Measurement(reading(1, 2), 0.0)], RATE, "0.0 seconds"),
    ],
)
def test_measurements_that_cannot_be_are_refused(measurements, rate, what):
    with pytest.raises(W2SError, match=what):
        costs.fit(measurements, rate)


def test_a_model_that_was_not_measured_has_no_seconds(model):
    with pytest.raises(W2SError, match="no measurement of read flops other"):
        model.seconds(reading(10, 10, replace(TINY, name="other")))


def test_the_table_names_every_coefficient_once(model):
    text = str(model.table())
    assert text.count("tiny") == 2 and "50 %" in text
    assert "<table>" in model._repr_html_() and repr(model) == text


def test_kept_measurements_give_the_same_model(model, tmp_path):
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({"rate": RATE, "fit": [asdict(one) for one in exact()]}))
    assert costs.load(file).coefficients == pytest.approx(model.coefficients)


@pytest.mark.parametrize("content", ["", "{}", '{"rate": 1, "fit": [{"work": {"name": "x"}}]}'])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "costs.json").write_text(content)
    with pytest.raises(W2SError, match="bench/costs.py"):
        costs.load(tmp_path / "costs.json")


# --- prices ---------------------------------------------------------------------------------------


def test_on_the_machine_of_the_fit_a_price_is_the_seconds_of_the_model(model):
    work = reading(3000, 80)
    found = costs.price([work, work], costs.laptop(model), model)
    assert found.hours.value == pytest.approx(2 * model.seconds(work).value / 3600)


def test_a_faster_machine_saves_arithmetic_and_not_the_hosts_work(model):
    work = reading(1000, 100)
    # host 0.5 + 1,000 · 1 ms + 100,000 · 10 µs = 2.5 s, and 100,000 · 10 dims · 2 bytes · 0.5 µs
    # = 1 s; weights 2 · 2,000 · 10⁵ · 2 ns = 0.8 s; attention 2 · 2 · 10 · 1,000 · 10⁴ · 5 ns
    # = 2 s; ten times faster: 2.5 + 1 + 0.08 + 0.2
    faster = Machine("faster", 10 * RATE)
    found = costs.price([work], faster, model)
    assert found.hours.value * 3600 == pytest.approx(3.78, rel=1e-4)


def test_a_given_share_replaces_the_measured_one_and_sets_the_range(model):
    work = replace(reading(0, 1), amounts={"flops": 3.6e15})
    found = costs.price([work], Machine("gpu", 1e12, share=(0.1, 0.4)), model)
    # 3,600 s at all of 10¹², so 1 hour: 10 at a tenth, 2.5 at 0.4, 5 at their geometric mean 0.2
    assert vars(found.hours) == pytest.approx({"value": 5, "low": 2.5, "high": 10})


def test_with_a_share_given_a_model_need_not_have_been_measured(model):
    big = replace(TINY, name="never measured", block=10**9)
    assert costs.price([reading(10, 10, big)], costs.ONE_GPU, model).hours.value > 0


def test_sending_blocks_takes_the_place_of_the_steps(model):
    work = Work("w", "tune", "tiny", {"steps": 1e6, "dispatches": 7.2e6, "flops": 0.0})
    found = costs.price([work], Machine("gpu", 1e12, (0.1, 0.1), dispatch=(1e-3, 1e-3)), model)
    assert found.hours.value == pytest.approx(2)  # 7.2e6 · 1 ms
    assert found.stages[0].dominates == "sending blocks to the device, 100%"


def test_eight_devices_are_less_than_eight_times_as_fast(model):
    work = reading(100_000, 100)
    part = {term: work.amounts[term] for term in ("flops", "attention", "dispatches")}
    alone = replace(work, amounts=part)
    one, eight = (
        costs.price([alone, work], m, model).stages for m in (costs.ONE_GPU, costs.EIGHT_GPUS)
    )
    # 1 / (0.05 + 0.95 / 8) = 5.93
    assert one[0].hours.value / eight[0].hours.value == pytest.approx(1 / (0.05 + 0.95 / 8))
    # what they save of a whole reading is what they save of the device's part of it
    saved = [a.hours.value - b.hours.value for a, b in zip(one, eight, strict=True)]
    assert saved[0] == pytest.approx(saved[1])
    assert replace(costs.EIGHT_GPUS, serial=1.0).speedup == 1


def test_the_hosts_work_takes_as_long_beside_eight_devices(model):
    host = Work("w", "read", "tiny", {t: 100.0 for t in ("start", "items", "tokens", "states")})
    one, eight = (costs.price([host], m, model) for m in (costs.ONE_GPU, costs.EIGHT_GPUS))
    assert eight.hours == one.hours and one.hours.value > 0


def test_more_devices_shorten_steps_where_sending_blocks_does_not_replace_them():
    work = Work("w", "tune", "tiny", {"steps": 100.0})
    model = costs.fit([Measurement(work, 2.0)], RATE)
    two = costs.price([work], Machine("two", RATE, devices=2), model)
    assert two.hours.value == pytest.approx(1.0 / 3600)


def test_money_and_energy_count_every_device_for_all_of_the_time(model):
    machine = Machine("m", RATE, devices=2, serial=1.0, hourly=3.0, watts=500)
    found = costs.price([reading(10_000, 100)], machine, model)
    assert found.money.value == pytest.approx(2 * 3 * found.hours.value)
    assert found.kwh.high == pytest.approx(2 * 0.5 * found.hours.high)
    without = costs.price([reading(10, 10)], costs.laptop(model), model)
    assert without.money is None and without.kwh is None


def test_an_assumed_machine_says_so_in_its_table(model):
    found = costs.price([reading(10, 10)], costs.EIGHT_GPUS, model)
    assert "Assumed" in str(found) and "serial" in str(found)
    assert "Measured here" in str(costs.price([reading(10, 10)], costs.laptop(model), model))


@settings(max_examples=30)
@given(st.floats(1e9, 1e16), st.integers(1, 64), st.floats(0, 1))
def test_a_range_always_holds_the_value(model, rate, devices, serial):
    machine = Machine("any", rate, (0.05, 0.5), (1e-5, 1e-3), devices=devices, serial=serial)
    hours = costs.price([reading(1000, 50), reading(10, 300)], machine, model).hours
    assert 0 < hours.low <= hours.value <= hours.high


@pytest.mark.parametrize(
    "fields",
    [
        {"rate": 0.0},
        {"share": (0.5, 0.2)},
        {"share": (0.5, 1.5)},
        {"dispatch": (-1.0, 0.0)},
        {"devices": 0},
        {"devices": 1.5},
        {"serial": 1.1},
        {"hourly": -1.0},
        {"watts": float("inf")},
    ],
)
def test_a_machine_that_cannot_be_is_refused(fields):
    with pytest.raises(W2SError, match="odd: "):
        Machine(**{"name": "odd", "rate": 1e12, **fields})


def test_no_work_has_no_price(model):
    with pytest.raises(W2SError, match="no work to price"):
        costs.price([], costs.laptop(model), model)


# --- the benchmark --------------------------------------------------------------------------------


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "bench"))
    yield importlib.import_module("costs")
    sys.modules.pop("costs", None)


@pytest.fixture
def linked(bench, tmp_path, monkeypatch):
    """The benchmark's own cache, named like a user's until the test ends."""
    monkeypatch.setenv("W2S_CACHE", os_cache())
    bench.linked(tmp_path)
    return tmp_path


def os_cache() -> str:
    from w2s_lab.assets import cache_dir

    return str(cache_dir())


@pytest.mark.slow
def test_the_benchmark_measures_fits_and_tells_from_an_empty_cache(bench, linked, monkeypatch):
    def few(smoke):
        names = ("static", bench.TOKENS)
        return [j for name in names for j in bench.clauses(name, smoke)] + [*bench.heads(smoke)]

    monkeypatch.setattr(bench, "jobs", few)
    measured, fifth, disk = bench.measure(True, linked)
    assert len(measured) == 12 and len(fifth) == 3  # four sizes of three works, and each fifth
    for one in [*measured, *fifth]:
        if one.work.family == "read":  # every text was read anew, and only that was kept
            size = one.work.disk
            assert (
                0 <= disk[one.work.name] - size <= 128 + 128 + 8 * (one.work.amounts["items"] + 1)
            )
    lines = "\n".join(bench.told(costs.fit(measured, RATE), measured, fifth, disk))
    assert lines.count("**test**") == 3 and "Of 3 fifth sizes" in lines


def test_the_fifth_size_is_outside_of_the_others(bench):
    def tokens(characters):
        return characters / 5

    for sizes in bench.CLAUSES.values():
        assert sizes[-1][0] > 2 * max(count for count, _ in sizes[:-1])
    assert bench.HEADS[-1][0] * bench.HEADS[-1][2] > 2 * max(n * k for n, _, k in bench.HEADS[:-1])
    for sizes, amount in (
        (bench.WRITING, lambda n, chars, asked, limit: n * (tokens(chars) + asked * limit)),
        (bench.TUNING, lambda n, prompt, target: n * (prompt + target)),
    ):
        assert amount(*sizes[-1]) > 1.5 * max(amount(*size) for size in sizes[:-1])


def test_a_machine_of_ones_own_is_priced_from_kept_measurements(
    bench, tmp_path, capsys, monkeypatch
):
    def measurements(name):
        for work in _works():
            for times in (1.0, 2.0, 3.0, 5.0, 7.0, 11.0):
                amounts = {t: a * times**i for i, (t, a) in enumerate(work.amounts.items())}
                other = replace(work, amounts=amounts)
                yield asdict(Measurement(other, sum(amounts.values()) * 1e-9))

    file = tmp_path / "costs.json"
    file.write_text(json.dumps({"rate": RATE, "fit": [*measurements("x")]}))
    monkeypatch.setattr(bench, "KEPT", file)
    bench.main(["--machine", "mine", "--rate", "1e12", "--hourly", "2", "--watts", "300"])
    said = capsys.readouterr().out
    assert said.count("| mine | **all** |") == 4 and "rate given, share as fitted" in said


def test_a_mistake_on_the_command_line_is_one_line(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "KEPT", tmp_path / "costs.json")
    words = ["--machine", "mine", "--rate", "1e12", "--share", "0.5", "0.2"]
    with pytest.raises(SystemExit, match=r"no measurements .*python bench/costs\.py`$"):
        bench.main(words)
    monkeypatch.setattr(bench.costs, "load", lambda path: None)
    with pytest.raises(SystemExit, match="a share from 0.5 to 0.2; .*the lowest first"):
        bench.main(words)


def _works() -> list[Work]:
    found = [*works.papers(), *works.clauses(), *works.clauses(strong=works.READER)]
    return list({(w.family, w.model): w for w in found}.values())
