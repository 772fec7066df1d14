"""What people type about doses and their tables, read into the arguments of one action."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from dosing.domain.administered import END_CAUSE_WORDS, EndCause
from dosing.domain.table_files import MAX_TEXT
from dosing.domain.worksheet import GRAFT
from dosing.models import Administration, DoseWorksheet, DosingTable
from trials.domain.definition import DosingSpec
from trials.domain.partial_dates import DateEntryError, enter_datetime
from trials.forms import DayField, reason_field
from trials.models import Participant, Site

#: Doses that a derived table may choose from, so that it is computed while one waits.
MOST_DOSES = 40


class NumberField(forms.CharField):
    """An exact decimal; a comma is read as the decimal mark, a grouping mark is refused."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.TextInput(attrs={"autocomplete": "off", "inputmode": "decimal", "size": 8}))
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{value.normalize():f}" if isinstance(value, Decimal) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value).strip()
        if not text:
            return None
        if len(text) > 14 or not set(text) <= set("0123456789.,-") or text.count(".") + text.count(",") > 1:
            raise forms.ValidationError(_now("“%(text)s” is not a number. Write 54.5.") % {"text": text[:40]})
        try:
            return Decimal(text.replace(",", "."))
        except InvalidOperation:
            raise forms.ValidationError(_now("“%(text)s” is not a number. Write 54.5.") % {"text": text}) from None


class MomentField(forms.CharField):
    """A date and time of day at the site."""

    def __init__(self, *, anchor_date: date | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("help_text", _("Date and time at the site: 12nov26 14:05, t 14:05, d-9 14:05."))
        kwargs.setdefault("widget", forms.TextInput(attrs={"autocomplete": "off", "size": 18}))
        self.anchor_date = anchor_date
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value.strftime("%d-%b-%Y %H:%M") if isinstance(value, datetime) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            return enter_datetime(text, today=timezone.localdate(), anchor_date=self.anchor_date)
        except DateEntryError as error:
            raise forms.ValidationError(str(error)) from None


class VerifyDoseForm(forms.Form):
    """One empty field a covariate: what the first person entered is not shown."""

    def __init__(self, *args: Any, worksheet: DoseWorksheet, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for one in worksheet.inputs["covariates"]:
            label = f"{one['label']} ({one['unit']})" if one["unit"] else one["label"]
            field: forms.Field
            if one["id"] == GRAFT:
                field = forms.ChoiceField(label=label, choices=choices, widget=forms.RadioSelect)
            else:
                widget = forms.TextInput(attrs={"autocomplete": "off", "inputmode": "decimal", "size": 8})
                field = forms.CharField(label=label, max_length=14, widget=widget)
            self.fields[one["id"]] = field


class ReleaseForm(forms.Form):
    agreed = forms.BooleanField(label=_("I sign this."))

    def __init__(self, *args: Any, has_warnings: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if has_warnings:
            help_text = _("There are warnings: say why the dose is right all the same.")
            self.fields = {"reason": reason_field(help_text=help_text), **self.fields}


class AdministrationForm(forms.Form):
    """One infusion; of one that was stopped, the volume given is enough."""

    infusion = forms.IntegerField(label=_("Infusion"), min_value=1, max_value=99)
    started_at = MomentField(label=_("Started"))
    stopped_at = MomentField(label=_("Stopped"))
    dose_mg = NumberField(label=_("Dose given (mg)"), required=False)
    volume_ml = NumberField(label=_("Volume given (mL)"), required=False)
    was_stopped_early = forms.BooleanField(label=_("Stopped early"), required=False)
    batch = forms.CharField(label=_("Batch"), max_length=40, required=False)
    comment = forms.CharField(
        label=_("Comment"),
        required=False,
        max_length=1000,
        help_text=_("Needed when the dose was stopped, was not released, or is more than 10 % from the plan."),
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(
        self,
        *args: Any,
        participant: Participant,
        spec: DosingSpec | None,
        correcting: Administration | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name in ("started_at", "stopped_at"):
            self.fields[name] = MomentField(label=self.fields[name].label, anchor_date=participant.anchor_date)
        if spec is None or spec.rounding is None:
            del self.fields["volume_ml"]
            self.fields["dose_mg"].required = True
        if correcting is not None:
            del self.fields["infusion"]
            self.fields["reason"] = reason_field(label=_("Reason of the correction"))
            self.fields["revision"] = forms.IntegerField(widget=forms.HiddenInput, initial=correcting.revision)


class ReasonForm(forms.Form):
    reason = reason_field()


class EndCourseForm(forms.Form):
    ended_on = DayField(label=_("Ended on"))
    cause = forms.ChoiceField(
        label=_("Cause"),
        choices=[("", "---------"), *((one.value, END_CAUSE_WORDS[one].capitalize()) for one in EndCause)],
        help_text=_("The sum given is judged, whatever the cause. Withdrawal from the study is recorded apart."),
    )
    reason = reason_field(
        label=_("In words"), required=False, help_text=_("Needed for another cause. It stands in the audit trail.")
    )


class _TextFileField(forms.FileField):
    """A text file, read whole; cleaned to its text."""

    def clean(self, data: Any, initial: Any = None) -> Any:
        file = super().clean(data, initial)
        if not file:
            return ""
        if file.size > MAX_TEXT:
            raise forms.ValidationError(_now("The file is larger than 1 MiB; a dosing table is not."))
        try:
            return file.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise forms.ValidationError(_now("The file is not UTF-8 text. Save it as CSV or YAML in UTF-8.")) from None


class EnterTableForm(forms.Form):
    description = _TextFileField(
        label=_("Description (YAML)"),
        help_text=_("Code, title, product, source citation, units and applicability; the cells may stand in it."),
    )
    cells = _TextFileField(
        label=_("Cells (CSV)"),
        required=False,
        help_text=_(
            "Columns stem_cell_source, weight_lo, weight_hi, alc_lo, alc_hi, total_mg_per_kg, n_days, start_day."
        ),
    )
    reason = reason_field(label=_("Reason"), help_text=_("Such as the publication or the amendment it comes from."))


class VerifyTableForm(forms.Form):
    cells = _TextFileField(
        label=_("Cells, entered a second time (CSV)"),
        help_text=_("Typed from the printed source by you, not copied from the first entry."),
    )


class ApproveTableForm(forms.Form):
    """The signature, and where the table holds; every site is chosen beforehand."""

    effective_from = DayField(label=_("In force from"))
    sites = forms.ModelMultipleChoiceField(
        label=_("Sites"),
        queryset=Site.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("A site that is left out computes no dose until the table is put into force there."),
    )
    reason = reason_field(
        label=_("Meaning of the signature"), initial=_("I compared this table with its source and approve it for use.")
    )

    def __init__(self, *args: Any, table: DosingTable, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["sites"]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        field.queryset = table.trial.sites.order_by("code")
        field.initial = list(field.queryset)

    def clean(self) -> dict[str, Any]:
        """All sites chosen is every site that there is and will be."""
        typed = super().clean() or {}
        chosen = list(typed.get("sites") or [])
        everywhere = len(chosen) == len(self.fields["sites"].queryset)  # type: ignore[attr-defined]
        typed["sites"] = None if everywhere else chosen
        return typed


class AtSiteForm(forms.Form):
    site = forms.ModelChoiceField(label=_("Site"), queryset=Site.objects.none())
    effective_from = DayField(label=_("In force from"))
    reason = reason_field(
        label=_("Meaning of the signature"), initial=_("This table may be used at the site from this day.")
    )

    def __init__(self, *args: Any, waiting: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["site"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = waiting


class ExploreTableForm(forms.Form):
    """What a table is derived from, in the unit of the model, and the population that is sent through it."""

    table = forms.ChoiceField(label=_("Cells and graft sources of"))
    pre_low = NumberField(label=_("Exposure before the graft, at least"), initial="40")
    post_high = NumberField(label=_("Exposure after the graft, at most"), initial="50")
    cord_post_high = NumberField(
        label=_("The same, cord blood"), initial="20", help_text=_("Used where the table has cells for cord blood.")
    )
    dose_low = NumberField(label=_("Lowest dose, mg/kg"), initial="2")
    dose_high = NumberField(label=_("Highest dose, mg/kg"), initial="10")
    dose_step = NumberField(label=_("Step, mg/kg"), initial="0.5")
    weight_median = NumberField(label=_("Median weight, kg"), initial="20")
    alc_median = NumberField(label=_("Median lymphocytes, ×10^9/L"), initial="0.8")
    people = forms.IntegerField(label=_("Virtual patients"), initial=2000, min_value=100, max_value=5000)
    seed = forms.IntegerField(label=_("Seed"), initial=1, min_value=0, max_value=2**31 - 1)

    def __init__(self, *args: Any, active: list[DosingTable], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tables = {str(row.pk): row for row in active}
        field = self.fields["table"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(key, str(row)) for key, row in self.tables.items()]

    def clean_table(self) -> DosingTable:
        return self.tables[self.cleaned_data["table"]]

    def clean(self) -> dict[str, Any]:
        typed: dict[str, Any] = self.cleaned_data
        for name in ("pre_low", "post_high", "cord_post_high", "dose_low", "dose_step", "weight_median", "alc_median"):
            if name in typed and not typed[name] > 0:
                self.add_error(name, _("Give a number above 0."))
        if self.errors:
            return typed
        if typed["dose_high"] < typed["dose_low"]:
            self.add_error("dose_high", _("The highest dose lies below the lowest."))
        elif (typed["dose_high"] - typed["dose_low"]) / typed["dose_step"] > MOST_DOSES - 1:
            self.add_error("dose_step", _now("More than %(n)d doses; make the step larger.") % {"n": MOST_DOSES})
        return typed


class EnterModelForm(forms.Form):
    content = _TextFileField(
        label=_("File (YAML)"),
        help_text=_("A parameter set (kind: parameters) or an algorithm (kind: map or table), with source and units."),
    )
    reason = reason_field(label=_("Reason"), help_text=_("Such as the publication or the sponsor's letter."))


class VerifyModelForm(forms.Form):
    content = _TextFileField(
        label=_("File, entered a second time (YAML)"),
        help_text=_("Typed from the source by you, not copied from the first entry."),
    )


class ApproveModelForm(forms.Form):
    effective_from = DayField(label=_("In force from"))
    reason = reason_field(
        label=_("Meaning of the signature"), initial=_("I compared this with its source and approve it for use.")
    )


class RetireForm(forms.Form):
    reason = reason_field(
        label=_("Why it is not used any more"), help_text=_("It stands on its page and in the trail.")
    )
