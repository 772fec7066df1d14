from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from axes.signals import user_locked_out

        from accounts.lockout import alert_administrators

        user_locked_out.connect(alert_administrators, dispatch_uid="accounts.alert_administrators")
