"""Django's admin behind Doorward: its own login and forms, each CSRF-checked against Host and Origin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.apps.strangers import assert_strangers_reach_nothing
from tests.blackbox.chromium import new_person
from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.processes import find_free_port, running, wait_for_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.browser]

PASSWORD = "a-password-of-djangos-own"
SITE = """
import os
import sys
from pathlib import Path

from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY="of-tests",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["localhost"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).with_name("site.db")},
    },
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    STATIC_URL="/static/",
)

import django

django.setup()

from django.contrib import admin
from django.http import JsonResponse
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("who/", lambda request: JsonResponse({"user": request.headers.get("X-Forwarded-User")})),
]

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""


@pytest.fixture(scope="module")
def django(folder: Path) -> Iterator[str]:
    manage = folder / "manage.py"
    manage.write_text(SITE, encoding="utf-8")
    environment = {**os.environ, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    create = ("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.com")
    for words in (("migrate", "--verbosity", "0"), create):
        subprocess.run(
            [sys.executable, manage, *words],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
    port = find_free_port()
    command: list[str | Path] = [sys.executable, manage, "runserver", "--noreload", f"127.0.0.1:{port}"]
    with running(command, log=folder / "django.log", cwd=folder, env=environment) as process:
        wait_for_port(port, process, seconds=40)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def doorward(django: str, scripted: ScriptedProvider, folder: Path) -> Iterator[Doorward]:
    with Doorward(folder, provider=scripted.settings(), upstream=django) as running_doorward:
        running_doorward.note_secrets([PASSWORD])
        yield running_doorward


def test_a_person_signs_in_at_the_admin_and_saves_an_object(
    browser: Browser, doorward: Doorward, script: ScriptedProvider
) -> None:
    """Django compares Origin and Host, so both must arrive as the browser sent them."""
    with new_person(browser, doorward) as person:
        page = person.new_page()
        page.goto(doorward.url + "/admin/")
        page.fill("input[name=username]", "root")
        page.fill("input[name=password]", PASSWORD)
        page.click("input[type=submit]")
        page.wait_for_url(doorward.url + "/admin/")
        assert page.title().startswith("Site administration")

        page.goto(doorward.url + "/admin/auth/group/add/")
        page.fill("input[name=name]", "Gärtner")
        page.click("input[name=_save]")
        page.wait_for_url(doorward.url + "/admin/auth/group/")
        assert "Gärtner" in page.inner_text("#result_list")

        page.click("#logout-form button")
        page.wait_for_selector("text=Logged out")
        page.goto(doorward.url + "/who/")
        assert '"ann"' in page.inner_text("body")


def test_djangos_own_check_still_refuses_a_form_without_its_token(
    doorward: Doorward, script: ScriptedProvider
) -> None:
    """The application's defences are its own; ours come in front of them."""
    person = doorward.agent()
    person.open(doorward.url + "/admin/login/")
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = person.fetch(doorward.url + "/admin/login/", "POST", content=b"username=root", headers=form)

    assert answer.status == 403
    assert "CSRF" in answer.text
    assert "doorward-intercepted" not in answer.headers


def test_a_stranger_reaches_none_of_it(doorward: Doorward, scripted: ScriptedProvider) -> None:
    paths = ["/", "/admin/", "/admin/login/", "/admin/auth/group/", "/static/admin/css/base.css", "/who/"]
    assert_strangers_reach_nothing(doorward, scripted, paths)
