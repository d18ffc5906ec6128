"""Warfarin, dosed by genotype or not: S-warfarin, two chains of clotting factors, the INR, and the trials' dosing rules.

    dose x 1/2
         |
        gut --ka--> central <--q--> peripheral
                       |
                    cl (CYP2C9, age)          c --> 1 - inhibition (EC50 by VKORC1)
                                                     |--> six compartments, MTT1 each --> a6
                                                     '--> one compartment, MTT2 ------> a7
                    INR = base + 20 (1 - a6 a7)^lambda

Pharmacokinetics and the INR are [1]; nothing is fitted here. What is read as what:

- Whether the published MTT1 is the mean of one of the six compartments or of the whole chain is open, and a covariate,
  `reading`: *published*, 1/MTT1 for each compartment (equation 8 of the appendix by [2]); *six_spans*, 6/MTT1, as in the
  code of a published simulator; *hamberg_2010*, a chain of 28.6 h in all, the value that the same authors estimated in
  1426 patients with three compartments [3]. Plateaus do not depend on it.
- Published between-subject variabilities are read as coefficients of variation, log-SD = sqrt(log(1 + CV^2)). The
  covariances that [1] estimated have no published figure and are left out.
- The residual of the log of INR, 0.0325, is read as a variance: an SD of 0.18, as [3] has 0.20; 3 % would be less than
  the error of the assay. It is taken for real variation from one occasion to the next, of diet and illness more than of
  the assay: the clinic acts on the same number that counts for the time in range.
- [1] knows no body size, race, smoking or co-medication. Amiodarone lowers the dose that is needed by 22 % [4], here by
  way of clearance; without it, algorithms would be blamed for a drug that the model does not see.
- Alleles CYP2C9*5, *6, *8, *11 and rs12777823 are not modelled: they act as *1 here, as they did in the algorithms.

Algorithms: EU-PACT's loading and maintenance dose, [5] in the form without race, loaded by [6]; the first dose of COAG,
[4], with genotype and without; both trials' revision on day 4, [7]. Adjustments from day 8 on, the same in every arm:
[8], appendix B. A day is counted from 1, the day of the first dose; its INR is taken before its dose.

References
----------
[1] Hamberg et al. 2007, Clin Pharmacol Ther 81:529, doi 10.1038/sj.clpt.6100084. Tables 2 and 4, appendix; seen through
    [2].
[2] nlmixr2lib, Hamberg_2007_warfarin_s (read for figures).
[3] Hamberg et al. 2010, Clin Pharmacol Ther 87:727, doi 10.1038/clpt.2010.37; figures seen through two public codes.
[4] Gage et al. 2008, Clin Pharmacol Ther 84:326, doi 10.1038/clpt.2008.10. Effects as the abstract's percentages;
    intercepts seen through a public code.
[5] International Warfarin Pharmacogenetics Consortium 2009, N Engl J Med 360:753, doi 10.1056/NEJMoa0809329; EU-PACT's
    form of it seen through a public code.
[6] Avery et al. 2011, Clin Pharmacol Ther 90:701; rate constants seen through the same code.
[7] Lenzini et al. 2010, Clin Pharmacol Ther 87:572, doi 10.1038/clpt.2010.13; coefficients seen through a public code.
[8] Anderson et al. 2007, Circulation 116:2563, supplement, appendix B; seen through a public code.
[9] Pirmohamed et al. 2013 (EU-PACT), N Engl J Med 369:2294; Kimmel et al. 2013 (COAG), N Engl J Med 369:2283.
[10] Rosendaal et al. 1993, Thromb Haemost 69:236: time in range by lines between INRs, no longer than 56 days.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cohort import Decision, Endpoint, Model, Record, Route, Rule, Scalar, category, fixed, lognormal, normal, quantity

ALLELES = ("*1", "*2", "*3", "*5", "*6", "*8", "*11")
DIPLOTYPES = tuple(f"{a}/{b}" for i, a in enumerate(ALLELES) for b in ALLELES[i:])


def by_diplotype(values: Mapping[str, float], diplotype: Any) -> Any:
    """Looked up among values of the six diplotypes that [1, 5, 6] know; other alleles act as *1. diplotype: its place
    in `DIPLOTYPES`."""
    known = ["*1", "*2", "*3"]
    pairs = ([allele if allele in known else "*1" for allele in pair.split("/")] for pair in DIPLOTYPES)
    return jnp.array([values["/".join(sorted(pair))] for pair in pairs])[jnp.asarray(diplotype, int)]


SIX = ("*1/*1", "*1/*2", "*1/*3", "*2/*2", "*2/*3", "*3/*3")


def of_six(*values: float) -> dict[str, float]:
    return dict(zip([str(pair) for pair in SIX], values, strict=True))


CLEARANCE = of_six(1.0, 0.685, 0.547, 0.278, 0.310, 0.148)  # over that of *1/*1 [1, Table 2]
ELIMINATION = of_six(0.0189, 0.0158, 0.0132, 0.0130, 0.0090, 0.0075)  # 1/h, S-warfarin [6]
IWPC = of_six(0.0, 0.5211, 0.9357, 1.0616, 1.9206, 2.3312)  # less of the root of mg per week [5]
TWOS = {str(pair): float(pair.count("*2")) for pair in SIX}
THREES = {str(pair): float(pair.count("*3")) for pair in SIX}

MOST = 15.0  # mg, the largest dose that any rule gives: an assumption
OCCASIONS = (4.0, 5.5, 8.0, 11.5, 17.0, 24.0, 31.0, 38.0, 49.0, 63.0, 77.0)  # d, each one's end; the last is open


class Covariates(Record):
    age: Scalar = quantity("y", "age", plausible=(18, 100))
    height: Scalar = quantity("cm", "standing height")
    weight: Scalar = quantity("kg", "body weight")
    bsa: Scalar = quantity("m**2", "body surface")
    genetic_ancestry: Scalar = category("AFR", "AMR", "EAS", "EUR", "SAS", about="AFR: counts as African American")
    CYP2C9: Scalar = category(*DIPLOTYPES, about="diplotype")
    VKORC1: Scalar = category("GG", "GA", "AA", about="-1639G>A")
    smoking: Scalar = category("never", "former", "current", about="tobacco")
    diabetes: Scalar = category("no", "yes", about="diabetes")
    amiodarone: Scalar = category("no", "yes", about="taken beside warfarin")
    vte: Scalar = category("no", "yes", about="warfarin for deep vein thrombosis or pulmonary embolism")
    stroke: Scalar = category("no", "yes", about="a stroke before")
    genotyped: Scalar = category("no", "yes", about="genotype known before the first dose")
    reading: Scalar = category("published", "six_spans", "hamberg_2010", about="of MTT1, set by arms")
    since: Scalar = quantity("h", "when the trial's window of time in range opens, set by arms", plausible=(0, 10_000))


def occasion() -> Any:
    """How far one occasion's log INR is off the course."""
    return normal(
        0.0,
        "1",
        sd=0.0325**0.5,
        about="log INR of one occasion less that of the course",
        source="[1] Table 4: residual 0.0325, read as a variance",
    )


def made(unit: str, about: str) -> Any:
    """A parameter that `individual` computes from covariates."""
    return fixed(0.0, unit, about=about, source="computed from the subject's covariates")


class Parameters(Record):
    """71 years, CYP2C9*1/*1, VKORC1 GG. Apparent (oral) values for S-warfarin."""

    share: Scalar = fixed(0.5, "1", about="S-warfarin in a dose of racemate", source="by chemistry")
    ka: Scalar = fixed(2.0, "1/h", about="absorption rate constant", source="[1] Table 2, fixed there")
    cl: Scalar = lognormal(0.314, "L/h", cv=0.310, about="clearance", source="[1] Table 2", rse=3.95)
    v: Scalar = lognormal(13.8, "L", cv=0.262, about="central volume", source="[1] Table 2", rse=3.64)
    q: Scalar = fixed(0.131, "L/h", about="intercompartmental clearance", source="[1] Table 2", rse=16.3)
    v2: Scalar = lognormal(6.59, "L", cv=0.991, about="peripheral volume", source="[1] Table 2", rse=24.1)
    age_on_cl: Scalar = fixed(-0.0091, "1", about="change of cl per year beyond 71", source="[1] Table 2", rse=28.9)
    amiodarone_on_cl: Scalar = fixed(0.78, "1", about="cl on amiodarone", source="assumption: the dose falls so [4]")
    ec50_gg: Scalar = fixed(4.61, "mg/L", about="half inhibition, VKORC1 GG", source="[1] Table 4", rse=41.4)
    ec50_ga: Scalar = fixed(3.02, "mg/L", about="the same of GA", source="[1] Table 4", rse=37.4)
    ec50_aa: Scalar = fixed(2.20, "mg/L", about="the same of AA", source="[1] Table 4", rse=38.6)
    resistance: Scalar = lognormal(1.0, "1", cv=0.409, about="EC50 over that of the genotype", source="[1] Table 4")
    gamma: Scalar = fixed(0.424, "1", about="exponent of the concentration", source="[1] Table 4", rse=12.4)
    mtt1: Scalar = fixed(11.6, "h", about="mean transit time, fast chain", source="[1] Table 4", rse=4.65)
    chain_2010: Scalar = fixed(
        28.6,
        "h",
        about="the whole fast chain, by another estimate",
        source="[3] Table 4, seen through two public codes",
    )
    slowness: Scalar = lognormal(1.0, "1", cv=0.141, about="the chain's time over the typical", source="[1] Table 4")
    mtt2: Scalar = lognormal(
        120.0, "h", cv=1.02, about="mean transit time, slow factor", source="[1] Table 4", rse=23.0
    )
    power: Scalar = fixed(3.61, "1", about="lambda, exponent of the INR", source="[1] Table 4", rse=9.22)
    rise: Scalar = fixed(20.0, "1", about="largest rise of the INR", source="[1] appendix, fixed there")
    base: Scalar = fixed(1.0, "1", about="INR before warfarin", source="assumption: normal, as both trials asked for")
    day: Scalar = fixed(24.0, "h", about="a day", source="by definition")
    ec50: Scalar = made("mg/L", "concentration of half inhibition, by VKORC1")
    kfast: Scalar = made("1/h", "rate of each of the six compartments, by the reading")
    luck1: Scalar = occasion()
    luck2: Scalar = occasion()
    luck3: Scalar = occasion()
    luck4: Scalar = occasion()
    luck5: Scalar = occasion()
    luck6: Scalar = occasion()
    luck7: Scalar = occasion()
    luck8: Scalar = occasion()
    luck9: Scalar = occasion()
    luck10: Scalar = occasion()
    luck11: Scalar = occasion()
    luck12: Scalar = occasion()
    iwpc: Scalar = made("mg", "daily dose by EU-PACT's form of [5]")
    load: Scalar = made("mg", "mean of the three loading doses by [6]")
    revised: Scalar = made("mg", "daily dose by EU-PACT's form of [7] at an INR of 1, without the terms of past doses")
    standard: Scalar = made("mg", "first of EU-PACT's standard doses: 10 up to 75 years, 5 beyond")
    first: Scalar = made("mg", "first dose of COAG's genotype-guided arm")
    guided: Scalar = made("mg", "daily dose by [4] with genotype")
    clinical: Scalar = made("mg", "daily dose by [4] without genotype")
    refined: Scalar = made("mg", "daily dose by [7] with genotype at an INR of 1, without the terms of past doses")
    refined_clinical: Scalar = made("mg", "the same without genotype")
    black: Scalar = made("1", "1 for an African American, else 0")
    since: Scalar = made("h", "when the window of time in range opens")


class State(Record):
    gut: Scalar = quantity("mg", "S-warfarin to be absorbed")
    central: Scalar = quantity("mg", "S-warfarin in plasma")
    peripheral: Scalar = quantity("mg", "S-warfarin in tissue")
    gone: Scalar = quantity("mg", "S-warfarin eliminated")
    a1: Scalar = quantity("1", "fast factors, of normal")
    a2: Scalar = quantity("1", "fast factors, of normal")
    a3: Scalar = quantity("1", "fast factors, of normal")
    a4: Scalar = quantity("1", "fast factors, of normal")
    a5: Scalar = quantity("1", "fast factors, of normal")
    a6: Scalar = quantity("1", "fast factors, of normal")
    a7: Scalar = quantity("1", "slow factor, of normal")


class Outputs(Record):
    """`hour` is the time itself, for what is read from visits; the doses are what the algorithms tell the rules."""

    hour: Scalar = quantity("h", "time since the first dose")
    inr: Scalar = quantity("1", "international normalised ratio, as measured", plausible=(0.3, 60))
    c: Scalar = quantity("mg/L", "S-warfarin in plasma", plausible=(-1e-6, 50))
    taken: Scalar = quantity("mg", "warfarin taken so far")
    black: Scalar = quantity("1", "1 for an African American")
    since: Scalar = quantity("h", "when the window of time in range opens")
    iwpc: Scalar = quantity("mg", "daily dose by EU-PACT's algorithm")
    load: Scalar = quantity("mg", "mean of the three loading doses")
    revised: Scalar = quantity("mg", "daily dose by EU-PACT's revision at an INR of 1")
    standard: Scalar = quantity("mg", "first standard dose of EU-PACT")
    first: Scalar = quantity("mg", "first genotype-guided dose of COAG")
    guided: Scalar = quantity("mg", "daily dose with genotype")
    clinical: Scalar = quantity("mg", "daily dose without genotype")
    refined: Scalar = quantity("mg", "daily dose by the revision with genotype at an INR of 1")
    refined_clinical: Scalar = quantity("mg", "daily dose by the revision without genotype at an INR of 1")


def individual(p: Parameters, x: Covariates) -> Parameters:
    twos, threes = by_diplotype(TWOS, x.CYP2C9), by_diplotype(THREES, x.CYP2C9)
    a = x.VKORC1  # alleles of low dose
    black = jnp.where(x.genetic_ancestry == 0, 1.0, 0.0)
    smoker, amiodarone = jnp.where(x.smoking == 2, 1.0, 0.0), jnp.where(x.amiodarone == 1, 1.0, 0.0)
    vte, stroke, diabetes = x.vte * 1.0, x.stroke * 1.0, x.diabetes * 1.0

    root = 5.6044 - 0.02614 * x.age + 0.0087 * x.height + 0.0128 * x.weight - 0.5503 * amiodarone  # [5]
    root = root - jnp.where(a == 2, 1.6974, jnp.where(a == 1, 0.8677, 0.0)) - by_diplotype(IWPC, x.CYP2C9)
    iwpc = jnp.maximum(root, 0.0) ** 2 / 7
    left = jnp.exp(-24 * by_diplotype(ELIMINATION, x.CYP2C9))  # of a dose after a day
    load = iwpc / ((1 - left) * (1 + left + left**2))  # [6]

    without = 0.613 + 0.425 * x.bsa - 0.0075 * x.age + 0.156 * black + 0.216 * 2.5  # [4], the target INR is 2.5
    without = without - 0.257 * amiodarone + 0.108 * smoker + 0.0784 * vte
    blind = 0.9751 - 0.3238 * a + 0.4317 * x.bsa - 0.00745 * x.age + 0.2029 * 2.5 - 0.2538 * amiodarone
    blind = blind + 0.0922 * smoker - 0.0901 * black + 0.0664 * vte  # to CYP2C9, as COAG's first dose was
    full = blind - 0.4008 * threes - 0.2066 * twos

    revised = 3.10894 - 0.00767 * x.age - 0.23032 * a - 0.14745 * twos - 0.30770 * threes + 0.24597 * x.bsa  # [7]
    revised = revised + 0.26729 * 2.5 - 0.10350 * amiodarone
    refined = revised - 0.09644 * black - 0.20590 * stroke - 0.11216 * diabetes
    refined_clinical = 2.81602 - 0.00590 * x.age + 0.27815 * 2.5 - 0.16759 * diabetes + 0.17675 * x.bsa
    refined_clinical = refined_clinical - 0.22844 * stroke + 0.07123 * black - 0.11137 * amiodarone

    transit = jnp.where(x.reading == 2, p.chain_2010, p.mtt1) * p.slowness
    return p.replace(
        cl=p.cl
        * by_diplotype(CLEARANCE, x.CYP2C9)
        * (1 + p.age_on_cl * (x.age - 71))
        * jnp.where(amiodarone == 1, p.amiodarone_on_cl, 1.0),
        ec50=jnp.where(a == 2, p.ec50_aa, jnp.where(a == 1, p.ec50_ga, p.ec50_gg)) * p.resistance,
        kfast=jnp.where(x.reading == 0, 1.0, 6.0) / transit,
        iwpc=iwpc,
        load=load,
        revised=jnp.exp(revised) / 7,
        standard=jnp.where(x.age > 75, 5.0, 10.0),  # [9]
        first=jnp.exp(jnp.where(x.genotyped == 1, blind, without)),
        guided=jnp.exp(full),
        clinical=jnp.exp(without),
        refined=jnp.exp(refined) / 7,
        refined_clinical=jnp.exp(refined_clinical) / 7,
        black=black,
        since=x.since,
    )


def initial(p: Parameters) -> State:
    return State(gut=0.0, central=0.0, peripheral=0.0, gone=0.0, a1=1.0, a2=1.0, a3=1.0, a4=1.0, a5=1.0, a6=1.0, a7=1.0)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    c = jnp.maximum(y.central, 0.0) / p.v
    drive = (c / p.ec50) ** p.gamma
    making = 1 / (1 + drive)  # 1 - c^gamma / (ec50^gamma + c^gamma)
    across = p.q * (y.central / p.v - y.peripheral / p.v2)
    return State(
        gut=-p.ka * y.gut,
        central=p.ka * y.gut - p.cl * y.central / p.v - across,
        peripheral=across,
        gone=p.cl * y.central / p.v,
        a1=p.kfast * (making - y.a1),
        a2=p.kfast * (y.a1 - y.a2),
        a3=p.kfast * (y.a2 - y.a3),
        a4=p.kfast * (y.a3 - y.a4),
        a5=p.kfast * (y.a4 - y.a5),
        a6=p.kfast * (y.a5 - y.a6),
        a7=(making - y.a7) / p.mtt2,
    )


def luck(t: Scalar, p: Parameters) -> Scalar:
    """The deviation of the occasion at time t, in the log of INR."""
    found = p.luck12
    for i, end in reversed(list(enumerate(OCCASIONS, 1))):
        found = jnp.where(t < p.day * end, getattr(p, f"luck{i}"), found)
    return found


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    lost = jnp.maximum(1 - y.a6 * y.a7, 0.0)
    return Outputs(
        hour=t,
        inr=(p.base + p.rise * lost**p.power) * jnp.exp(luck(t, p)),
        c=y.central / p.v,
        taken=(y.gut + y.central + y.peripheral + y.gone) / p.share,
        black=p.black,
        since=p.since,
        iwpc=p.iwpc,
        load=p.load,
        revised=p.revised,
        standard=p.standard,
        first=p.first,
        guided=p.guided,
        clinical=p.clinical,
        refined=p.refined,
        refined_clinical=p.refined_clinical,
    )


# --- Rules. They decide every morning; INRs are looked at on the trial's days only. ----------------------------------


class Orders(Record):
    """What a clinic remembers of a patient."""

    daily: Scalar = fixed(5.0, "mg", about="the dose from now on", source="replaced on the first day")
    start: Scalar = fixed(5.0, "mg", about="daily dose on days 4 and 5", source="replaced on day 4")
    zone: Scalar = fixed(0.0, "1", about="of the INR before: -3 to 3, 0 in range", source="[8]")
    hold: Scalar = fixed(0.0, "1", about="days on which no dose is taken still", source="[8]")


def zone_of(inr: Scalar) -> Scalar:
    """Of the table of [8]: -3 below 1.6, -2 below 1.8, -1 below 2, 0 to 3, 1 below 3.4, 2 below 5, else 3."""
    below = jnp.where(inr < 1.6, -3.0, jnp.where(inr < 1.8, -2.0, jnp.where(inr < 2.0, -1.0, 0.0)))
    above = jnp.where(inr < 3.4, 1.0, jnp.where(inr < 5.0, 2.0, 3.0))
    return jnp.where(inr <= 3.0, below, above)


def adjusted(inr: Scalar, m: Orders, both: bool | Scalar = True) -> tuple[Orders, Scalar]:
    """The orders after an INR, and today's dose: a boost or half a dose once, and the daily dose by up to 15 % [8].
    both: whether low INRs are acted on as well."""
    zone = zone_of(inr)
    again = zone == m.zone
    down = jnp.where(zone == 3, 0.85, jnp.where(zone == 2, 0.90, jnp.where((zone == 1) & again, 0.95, 1.0)))
    up = jnp.where(zone == -3, 1.10, jnp.where(zone == -2, 1.05, jnp.where((zone == -1) & again, 1.05, 1.0)))
    daily = jnp.minimum(m.daily * jnp.where(zone > 0, down, jnp.where(both, up, 1.0)), MOST)
    boost = jnp.where(both, jnp.where(zone == -3, 2.0, jnp.where(zone == -2, 1.5, 0.0)), 0.0)
    once = jnp.where(zone == 3, 0.0, jnp.where(zone == 2, jnp.where(inr < 4.0, 0.5, 0.0), boost))
    special = (zone >= 2) | (boost > 0)
    today = jnp.minimum(jnp.where(special, m.daily * once, daily), MOST)
    hold = jnp.where(zone == 3, 1.0, 0.0)  # today and tomorrow
    return m.replace(daily=daily, zone=zone, hold=hold), today


def on(day: Scalar, days: tuple[int, ...]) -> Any:
    """Whether this is one of these days."""
    found = day == days[0]
    for other in days[1:]:
        found = found | (day == other)
    return found


def course(
    day: Scalar, inr: Scalar, m: Orders, maintained: tuple[int, ...], early: tuple[int, ...]
) -> Decision[Orders]:
    """From day 5 on: the daily dose, held where it is to be; adjusted on days `maintained`, downwards only on days
    `early`, for which [8] has no rule."""
    kept = m.replace(hold=jnp.maximum(m.hold - 1, 0.0))
    looked, once = adjusted(inr, m)
    lowered, less = adjusted(inr, m, both=False)
    lowered = lowered.replace(zone=m.zone)
    full = on(day, maintained)
    half = on(day, early) & jnp.asarray(inr >= 3.4) if early else full & False

    def pick(a: Scalar, b: Scalar, c: Scalar) -> Scalar:
        return jnp.where(full, a, jnp.where(half, b, c))

    memory = Orders(
        **{name: pick(getattr(looked, name), getattr(lowered, name), getattr(kept, name)) for name in vars(m)}
    )
    today = pick(once, less, jnp.where(m.hold > 0, 0.0, m.daily))
    return Decision(memory, doses={"oral": today})


def switched(early: Any, memory: Orders, today: Scalar, later: Decision[Orders]) -> Decision[Orders]:
    """One order where `early` holds, the other one else."""
    both = {n: jnp.where(early, getattr(memory, n), getattr(later.memory, n)) for n in vars(memory)}
    dose = jnp.minimum(jnp.where(early, today, later.doses["oral"]), MOST)
    return Decision(Orders(**both), doses={"oral": dose})


def day_of(t: Scalar) -> Scalar:
    """1 for the day of the first dose."""
    return jnp.round(t / 24) + 1


# Days of INRs on which [8] is followed. EU-PACT's: scheduled visits from memory, and weeks between, unverified; days 4
# and 6 are before them. COAG's: weeks as scheduled (PMC4415273), days an assumption; days 4 and 7 are before them.
EUPACT = (8, 15, 22, 29, 36, 43, 57, 71)
COAG = (10, 14, 21)
REVISION = {"guided": (0.51611, 0.01690, 0.02018), "clinical": (0.76679, 0.03471, 0.03047)}  # [7]


def revision(kind: str, base: Scalar, inr: Scalar, two_before: Scalar, three_before: Scalar) -> Scalar:
    """Daily dose by [7] from the INR of day 4, the doses of days 2 and 1, and what is known of the patient, `base`."""
    on_inr, second, third = REVISION[kind]
    return base * jnp.exp(-on_inr * jnp.log(inr) + second * two_before + third * three_before)


def eupact_guided(t: Scalar, seen: Outputs, m: Orders) -> Decision[Orders]:
    """Three loading doses and a revision on day 4, by genotype; then as everyone."""
    day = day_of(t)
    one, two = 1.5 * seen.load - 0.5 * seen.iwpc, seen.load  # [6]
    one, two, three = (jnp.minimum(dose, MOST) for dose in (one, two, 0.5 * seen.load + 0.5 * seen.iwpc))
    revised = jnp.minimum(revision("guided", seen.revised, seen.inr, two, one), MOST)
    today = jnp.where(day == 1, one, jnp.where(day == 2, two, jnp.where(day == 3, three, revised)))
    return switched(day <= 4, m.replace(daily=today), today, course(day, seen.inr, m, EUPACT, (6,)))


def loaded(t: Scalar, seen: Outputs, m: Orders, days: tuple[int, ...], second: int) -> Decision[Orders]:
    """10, 5 and 5 mg, or 5 mg thrice beyond 75 years; from day 4 by a nomogram for starting on 5 mg, the middle of its
    ranges, read again on day `second` (from memory, unverified: local practice was not published); then as everyone."""
    day = day_of(t)
    fourth = jnp.where(seen.inr < 1.5, 10.0, jnp.where(seen.inr < 2.0, 6.25, jnp.where(seen.inr <= 3.0, 2.5, 0.0)))
    sixth = jnp.where(seen.inr < 1.5, 10.0, jnp.where(seen.inr < 2.0, 7.5, jnp.where(seen.inr <= 3.0, 3.75, 0.0)))
    today = jnp.where(day == 1, seen.standard, jnp.where(day < 4, 5.0, jnp.where(day == 4, fourth, m.daily)))
    today = jnp.where(day == second, sixth, today)
    started = m.replace(daily=today, start=jnp.where(day == 4, fourth, m.start))
    # From day 8 the dose that is adjusted is the mean of days 5 to 7 [8]; 1 mg at least, else nothing could ever grow.
    mean = jnp.maximum(((second - 5) * m.start + (8 - second) * m.daily) / 3, 1.0)
    known = m.replace(daily=jnp.where(day == 8, mean, m.daily))
    return switched(day <= 7, started, today, course(day, seen.inr, known, days, ()))


def clinical(t: Scalar, seen: Outputs, m: Orders, days: tuple[int, ...], early: int) -> Decision[Orders]:
    """By clinical variables; a revision on day 4; then as everyone."""
    day = day_of(t)
    revised = revision("clinical", seen.refined_clinical, seen.inr, seen.clinical, seen.clinical)
    today = jnp.minimum(jnp.where(day < 4, seen.clinical, revised), MOST)
    return switched(day <= 4, m.replace(daily=today), today, course(day, seen.inr, m, days, (early,)))


def eupact_standard(t: Scalar, seen: Outputs, m: Orders) -> Decision[Orders]:
    return loaded(t, seen, m, EUPACT, 6)


def eupact_clinical(t: Scalar, seen: Outputs, m: Orders) -> Decision[Orders]:
    return clinical(t, seen, m, EUPACT, 6)


def eupact_fixed(t: Scalar, seen: Outputs, m: Orders) -> Decision[Orders]:
    """The standard loading doses, then 5 mg to day 7 whatever the INR: local practice at its least active."""
    day = day_of(t)
    today = jnp.where(day == 1, seen.standard, 5.0)
    return switched(day <= 7, m.replace(daily=today), today, course(day, seen.inr, m, EUPACT, ()))


def coag_guided(t: Scalar, seen: Outputs, m: Orders) -> Decision[Orders]:
    """By genotype, of which the first dose knows VKORC1 alone, or nothing; a revision on day 4; then as everyone."""
    day = day_of(t)
    revised = revision("guided", seen.refined, seen.inr, seen.guided, seen.first)
    today = jnp.where(day == 1, seen.first, jnp.where(day < 4, seen.guided, revised))
    today = jnp.minimum(today, MOST)
    return switched(day <= 4, m.replace(daily=today), today, course(day, seen.inr, m, COAG, (7,)))


def coag_clinical(t: Scalar, seen: Outputs, m: Orders) -> Decision[Orders]:
    return clinical(t, seen, m, COAG, 7)


def coag_standard(t: Scalar, seen: Outputs, m: Orders) -> Decision[Orders]:
    return loaded(t, seen, m, COAG, 7)


# --- Time in range. --------------------------------------------------------------------------------------------------

LONGEST = 56.0  # d between two INRs that a line is drawn through [10]


def share_of_time(visits: Outputs, low: float, high: float) -> Any:
    """Percent of the time between INRs that a line between them is from `low` to `high` [10]. visits: (..., visits),
    missed ones NaN, which the line passes over; of gaps above 56 d nothing is counted, and NaN is what rests on none."""
    return _share(*(jnp.asarray(part) for part in (visits.inr, visits.hour, visits.since)), low, high)


@jax.jit
def _share(inr: Any, hour: Any, since: Any, low: float, high: float) -> Any:
    day = hour / 24
    seen = ~(jnp.isnan(inr) | jnp.isnan(day)) & (hour >= since - 1e-6)
    last, at = jnp.full(inr.shape[:-1], jnp.nan), jnp.full(inr.shape[:-1], jnp.nan)
    inside, whole = jnp.zeros(inr.shape[:-1]), jnp.zeros(inr.shape[:-1])
    for k in range(inr.shape[-1]):
        now, time, here = inr[..., k], day[..., k], seen[..., k]
        gap = time - at
        counts = here & (gap <= LONGEST)
        bottom, top = jnp.minimum(last, now), jnp.maximum(last, now)
        within = jnp.clip(jnp.minimum(top, high) - jnp.maximum(bottom, low), 0.0)
        level = jnp.where((bottom >= low) & (top <= high), 1.0, 0.0)
        part = jnp.where(top > bottom, within / jnp.where(top > bottom, top - bottom, 1.0), level)
        inside = inside + jnp.where(counts, part * gap, 0.0)
        whole = whole + jnp.where(counts, gap, 0.0)
        last, at = jnp.where(here, now, last), jnp.where(here, time, at)
    return jnp.where(whole > 0, 100 * inside / jnp.where(whole > 0, whole, 1.0), jnp.nan)


def ttr(visits: Outputs) -> Any:
    return share_of_time(visits, 2.0, 3.0)


def of_black(visits: Outputs, wanted: bool) -> Any:
    """The same, of patients who count as African American or of the others; of everyone else NaN."""
    black = jnp.nanmax(jnp.asarray(visits.black), axis=-1) > 0.5
    return jnp.where(black == wanted, ttr(visits), jnp.nan)


def ever_above_4(visits: Outputs) -> Any:
    return jnp.nanmax(jnp.asarray(visits.inr), axis=-1) >= 4.0


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="h",
    individual=individual,
    initial=initial,
    ode=ode,
    observe=observe,
    routes={"oral": Route("gut", bioavailability="share")},
    rules={
        "eupact_guided": Rule(Orders, eupact_guided, about="EU-PACT, genotype-guided"),
        "eupact_standard": Rule(Orders, eupact_standard, about="EU-PACT, standard loading doses"),
        "eupact_fixed": Rule(Orders, eupact_fixed, about="EU-PACT, standard loading doses, then 5 mg to day 7"),
        "eupact_clinical": Rule(Orders, eupact_clinical, about="COAG's clinical algorithm on EU-PACT's days"),
        "coag_guided": Rule(Orders, coag_guided, about="COAG, genotype-guided"),
        "coag_clinical": Rule(Orders, coag_clinical, about="COAG, by clinical variables"),
        "coag_standard": Rule(Orders, coag_standard, about="EU-PACT's standard loading doses on COAG's days"),
    },
    endpoints={
        "ttr": Endpoint(ttr, unit="percent", about="time with INR 2 to 3, by lines between the visits' INRs"),
        "ttr_black": Endpoint(lambda v: of_black(v, True), unit="percent", about="the same of African Americans"),
        "ttr_others": Endpoint(lambda v: of_black(v, False), unit="percent", about="the same of everyone else"),
        "time_above_4": Endpoint(lambda v: share_of_time(v, 4.0, 1e9), unit="percent", about="time with INR above 4"),
        "time_below_2": Endpoint(lambda v: share_of_time(v, -1e9, 2.0), unit="percent", about="time with INR below 2"),
        "ever_above_4": Endpoint(ever_above_4, unit="1", about="an INR of 4 or more at any visit", binary=True),
    },
)
