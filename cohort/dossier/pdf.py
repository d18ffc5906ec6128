"""The page as PDF, by a headless Chromium where there is one; it is given no network and no profile of the user's."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from cohort.dossier.tests import DossierError
from cohort.store import write

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 180  # seconds
FLAGS = (
    "--headless",
    "--no-sandbox",  # a container's root has no other way; the page is our own and runs no script
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
)


def browser() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def write_pdf(page: Path, path: Path) -> None:
    """Errors: DossierError where there is no browser, or it makes no PDF."""
    program = browser()
    if program is None:
        raise DossierError(f"no Chromium on the path ({', '.join(BROWSERS)}); print {page} from any browser")

    def printed(temporary: Path) -> None:
        with tempfile.TemporaryDirectory() as profile:
            own = [f"--user-data-dir={profile}", f"--print-to-pdf={temporary}", page.resolve().as_uri()]
            try:
                done = subprocess.run([program, *FLAGS, *own], capture_output=True, text=True, timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                raise DossierError(f"{program} made no PDF in {PATIENCE} s; print {page} from any browser") from None
        if done.returncode or not temporary.read_bytes().startswith(b"%PDF"):
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise DossierError(f"{program} made no PDF, and said: {said}; print {page} from any browser")

    write(path, printed)
