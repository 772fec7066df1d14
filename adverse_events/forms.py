"""What people type about adverse events, read into a report; and the filters that pages and API share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from adverse_events import selectors
from adverse_events.domain.reporting import OUTCOME_WORDS, RELATIONS, SERIOUS_CRITERIA, Report
from adverse_events.formats import typed_date
from adverse_events.models import AdverseEvent
from trials import selectors as trials
from trials.domain.partial_dates import DateEntryError, PartialDate
from trials.forms import reason_field
from trials.models import Membership, Participant

THREE_ANSWERS = [("yes", _("yes")), ("no", _("no")), ("unknown", _("not known"))]
_SERIOUS: Mapping[str, bool | None] = {"yes": True, "no": False, "unknown": None}
_RELATION = "relation_"


class EventDateField(forms.CharField):
    """A date that may be partial, in the grammar of all date entries; cleaned to ISO 8601, empty while not known."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 40)
        kwargs.setdefault("widget", forms.TextInput(attrs={"autocomplete": "off", "size": 14}))
        super().__init__(**kwargs)
        self.participant: Participant | None = None

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if not text:
            return ""
        assert self.participant is not None
        try:
            return typed_date(self.participant, text).iso()
        except DateEntryError as error:
            raise forms.ValidationError(str(error)) from None


class AdverseEventForm(forms.Form):
    """One adverse event of one participant, as it is typed."""

    verbatim = forms.CharField(
        label=_("Event as reported"),
        max_length=300,
        help_text=_("In the words of the source; always kept beside the term."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    term = forms.CharField(label=_("Term"), max_length=200)
    other_specify = forms.CharField(label=_("What happened"), max_length=300, required=False)
    grade = forms.TypedChoiceField(
        label=_("Grade"),
        choices=[(grade, str(grade)) for grade in range(1, 6)],
        coerce=int,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose the worst grade of the event.")},
    )
    started = EventDateField(
        label=_("Start"),
        help_text=_("12nov26, 2026-11-12, d+21; nov 2026 or 2026 where no more is known; t is today, y yesterday."),
    )
    ended = EventDateField(label=_("End"), required=False, help_text=_("Empty while it is not known."))
    is_ongoing = forms.BooleanField(label=_("It goes on"), required=False)
    outcome = forms.ChoiceField(
        label=_("Outcome"),
        choices=[("", _("choose…")), *OUTCOME_WORDS.items()],
        error_messages={"required": _("Choose the outcome; “not known” is one.")},
    )
    is_serious = forms.ChoiceField(
        label=_("Serious"),
        choices=THREE_ANSWERS,
        widget=forms.RadioSelect,
        error_messages={"required": _("Say whether it is serious; “not known” is an answer.")},
    )
    serious_criteria = forms.MultipleChoiceField(
        label=_("Because it"),
        choices=list(SERIOUS_CRITERIA.items()),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    organism = forms.CharField(label=_("Organism"), max_length=200, required=False, help_text=_("Such as Candida."))
    suspect_product = forms.CharField(label=_("Suspect product"), max_length=200, required=False)
    key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=32)

    def __init__(self, *args: Any, participant: Participant, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.participant = participant
        self.policy = participant.protocol.adverse_events
        for name in ("started", "ended"):
            self.fields[name].participant = participant  # type: ignore[attr-defined]
        for product in self.policy.products:
            self.fields[_RELATION + product] = forms.ChoiceField(
                label=_("Relation to %(product)s") % {"product": product.replace("_", " ")},
                choices=list(RELATIONS.items()),
                initial="unknown",
            )

    @property
    def relation_fields(self) -> list[forms.BoundField]:
        return [self[_RELATION + product] for product in self.policy.products]

    @property
    def sheet(self) -> selectors.TermSheet:
        """What is known of the term as it stands in the form."""
        return selectors.term_sheet(self.policy, str(self["term"].value() or ""))

    @property
    def report(self) -> Report:
        """The report that a valid form holds."""
        typed = self.cleaned_data
        return Report(
            verbatim=typed["verbatim"],
            term=typed["term"],
            grade=typed["grade"],
            started=typed["started"],
            ended=typed["ended"],
            is_ongoing=typed["is_ongoing"],
            outcome=typed["outcome"],
            other_specify=typed["other_specify"],
            is_serious=_SERIOUS[typed["is_serious"]],
            serious_criteria=tuple(typed["serious_criteria"]),
            relations={product: typed[_RELATION + product] for product in self.policy.products},
            organism=typed["organism"],
            suspect_product=typed["suspect_product"],
        )

    @staticmethod
    def initial_of(event: AdverseEvent, *, copied: bool = False) -> dict[str, Any]:
        """What the form shows of a recorded event; of a copy everything but the grade and how it ended."""
        words = {True: "yes", False: "no", None: "unknown"}
        names = ("verbatim", "term", "other_specify", "grade", "is_ongoing", "outcome")
        initial: dict[str, Any] = {name: getattr(event, name) for name in names}
        initial |= {"is_serious": words[event.is_serious], "serious_criteria": event.serious_criteria}
        initial |= {"organism": event.organism, "suspect_product": event.suspect_product}
        initial |= {_RELATION + product: relation for product, relation in event.relations.items()}
        for name in ("started", "ended"):
            text = getattr(event, name)
            initial[name] = PartialDate.from_iso(text).display() if text else ""
        if copied:
            for name in ("grade", "started", "ended", "is_ongoing", "outcome", "is_serious", "serious_criteria"):
                initial.pop(name)
        return initial


class CorrectionForm(AdverseEventForm):
    """A recorded event, changed with a reason."""

    reason = reason_field(label=_("Reason for the change"), max_length=500)
    revision = forms.IntegerField(widget=forms.HiddenInput)


class VoidForm(forms.Form):
    reason = reason_field(label=_("Why was it recorded in error?"), max_length=500)


class AdverseEventFilter(django_filters.FilterSet):
    """Which events are listed. ``show=worst`` leaves one event a participant, before the grade is asked."""

    participant = django_filters.CharFilter(label=_("Participant"), method="of_participant")
    category = django_filters.ChoiceFilter(label=_("Report heading"), empty_label=_("all"))
    serious = django_filters.ChoiceFilter(
        label=_("Serious"), choices=THREE_ANSWERS, empty_label=_("all"), method="by_seriousness"
    )
    site = django_filters.ChoiceFilter(label=_("Site"), field_name="participant__site__code", empty_label=_("all"))
    end = django_filters.ChoiceFilter(
        label=_("End"), choices=[("open", _("still open"))], empty_label=_("all"), method="by_end"
    )
    void = django_filters.ChoiceFilter(
        label=_("In error"),
        choices=[("no", _("left out")), ("yes", _("only these"))],
        empty_label=_("struck through"),
        method="by_void",
    )
    days = django_filters.NumberFilter(label=_("Recorded in the last days"), min_value=1, max_value=3660, method="new")
    row = django_filters.CharFilter(label=_("Row of the table"), method="in_row")
    show = django_filters.ChoiceFilter(
        label=_("Show"), choices=[("worst", _("the worst of each participant"))], method="worst"
    )
    grade = django_filters.ChoiceFilter(
        label=_("Grade"), choices=[(str(n), str(n)) for n in range(1, 6)], empty_label=_("all")
    )

    class Meta:
        model = AdverseEvent
        fields: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        membership: Membership | None = getattr(self.request, "membership", None)
        self.membership = membership
        if membership is not None:  # None while the API's description is generated
            self.filters["category"].extra["choices"] = selectors.categories_of(membership)
            self.filters["site"].extra["choices"] = [
                (site.code, f"{site.code} {site.name}") for site in trials.sites_of(membership)
            ]

    def of_participant(self, rows: QuerySet[AdverseEvent], name: str, code: str) -> QuerySet[AdverseEvent]:
        code = code.strip()
        return rows.filter(Q(participant__number__iexact=code) | Q(participant__screening_number__iexact=code))

    def by_seriousness(self, rows: QuerySet[AdverseEvent], name: str, answer: str) -> QuerySet[AdverseEvent]:
        known = _SERIOUS[answer]
        return rows.filter(is_serious__isnull=True) if known is None else rows.filter(is_serious=known)

    def by_end(self, rows: QuerySet[AdverseEvent], name: str, answer: str) -> QuerySet[AdverseEvent]:
        return selectors.open_events(rows)

    def by_void(self, rows: QuerySet[AdverseEvent], name: str, answer: str) -> QuerySet[AdverseEvent]:
        return rows.filter(is_void=answer == "yes")

    def new(self, rows: QuerySet[AdverseEvent], name: str, days: Any) -> QuerySet[AdverseEvent]:
        return rows.filter(selectors.new_since(int(days)))

    def in_row(self, rows: QuerySet[AdverseEvent], name: str, label: str) -> QuerySet[AdverseEvent]:
        assert self.membership is not None
        return selectors.in_row(self.membership.trial.protocol.adverse_events, rows, label)

    def worst(self, rows: QuerySet[AdverseEvent], name: str, answer: str) -> QuerySet[AdverseEvent]:
        return selectors.worst_of_each(rows)
