"""A console as a site runs it: its own data, its own port, set up and served by the command line alone."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from support.programs import Program, environment, fenghuo, free_port, until
from support.web import Browser


class House:
    """One console, running. settings: further ones, FENGHUO_* without the prefix."""

    def __init__(self, folder: Path, organisation: str, kind: str, **settings: object) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        folder.mkdir()
        self.env = environment(data_dir=folder / "data", port=port, locale="en", **settings)
        first = json.loads(self.call("init", "--organisation", organisation, "--kind", kind, "--json"))
        self._passwords = {first["login"]: first["password"]}
        self.programs = [Program(folder / "console.log", "console", "run", env=self.env)]
        self._browsers: list[Browser] = []
        until(self._answers, "the console answers")

    def _answers(self) -> bool:
        assert self.programs[0].runs, self.programs[0].said
        try:
            return httpx.get(self.url, trust_env=False).status_code < 500
        except httpx.TransportError:
            return False

    def call(self, *arguments: str) -> str:
        """`fenghuo console ...` to its end; what it printed."""
        done = fenghuo("console", *arguments, env=self.env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def add_user(self, login: str, *options: str) -> None:
        """A user who can log in from now on."""
        made = json.loads(self.call("user", login, *options, "--json"))
        self._passwords[made["login"]] = made["password"]

    def person(self, login: str) -> Browser:
        """A user before the screen, logged in."""
        browser = Browser(self.url)
        self._browsers.append(browser)
        return browser.log_in(login, self._passwords[login])

    def stranger(self) -> Browser:
        """Somebody who has no login."""
        self._browsers.append(Browser(self.url))
        return self._browsers[-1]

    def _sensor(self, name: str, captures: tuple[Path, ...]) -> list[object]:
        command: list[object] = ["sensor", "run", "--console", self.url, "--spool", self._folder / name]
        for capture in captures:
            command += ["--capture", capture]
        return command

    def start_sensor(self, name: str, key: str, *captures: Path) -> Program:
        """A sensor that inspects captures and stays; its spool is named after it."""
        env = self.env | {"FENGHUO_SENSOR_KEY": key}
        self.programs.append(Program(self._folder / f"{name}.log", *self._sensor(name, captures), env=env))
        return self.programs[-1]

    def listen(self, name: str, key: str, *options: object) -> Program:
        """A sensor that listens on interfaces."""
        command = [*self._sensor(name, ()), *options]
        self.programs.append(
            Program(self._folder / f"{name}.log", *command, env=self.env | {"FENGHUO_SENSOR_KEY": key})
        )
        return self.programs[-1]

    def run_sensor(self, name: str, key: str, *captures: Path) -> str:
        """The same sensor until everything is sent; what it told."""
        done = fenghuo(*self._sensor(name, captures), "--once", env=self.env | {"FENGHUO_SENSOR_KEY": key})
        assert done.returncode == 0, done.stderr
        return done.stderr

    def end(self) -> None:
        """End every program; each must end well and must have made no mistake that only its log tells."""
        for browser in self._browsers:
            browser.close()
        codes = [program.end() for program in reversed(self.programs)]
        said = "\n".join(program.said for program in self.programs)
        assert "Traceback" not in said, said
        assert codes == [0] * len(codes), said
