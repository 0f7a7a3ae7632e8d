"""`aibemu images prepare IMAGE --agent`: a build that puts the Azure agent into a copy of an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.cli.app import App
from aibemu.cli.image_answers import no_deadline, show_added, store_of
from aibemu.cloud.local import LocalCloud
from aibemu.errors import BuildError, UsageError
from aibemu.images import BaseImage, agent

if TYPE_CHECKING:
    from aibemu.engine.preparing.options import BuildOptions
    from aibemu.settings import Settings


def prepare_agent(app: App, image: BaseImage, names: tuple[str, ...]) -> None:
    """Boot a copy of the image once, install the agent, deprovision it, and store it as another image with these
    aliases. Ends as `aibemu run` does when that fails."""
    from aibemu.cli.run import carry_out, tell_failure
    from aibemu.images.importing import looked_again
    from aibemu.settings import Settings

    store, settings = store_of(app), Settings.load(app.home.config)
    made = store.find_label(agent.LABEL, image.digest)
    if made is None:
        if why := agent.objection(image.info):
            raise UsageError(f"image {image.short}: {why}", hint="use it as it is")
        target = agent.image_id(image, settings.subscription_id, settings.resource_group)
        report, prepared = carry_out(app, _options(image, target, settings), settings)
        if report.error is not None:
            tell_failure(app, report, prepared)
        made = _taken(app, image, target)
        made = store.describe(made.digest, looked_again(made, store, no_deadline(app)))
        if (facts := made.info.linux) is not None and not facts.has_waagent:
            raise BuildError(
                f"image {made.short} was made, and no agent is found in it", hint="its log says what was installed"
            )
    else:
        app.say(f"this copy was made before: image {made.short}")
    for name in names:
        store.set_alias(name, made.digest)
    show_added(app, store, made)


def _options(image: BaseImage, target: str, settings: Settings) -> BuildOptions:
    from aibemu.engine.asking import OnErrorMode
    from aibemu.engine.preparing.options import BuildOptions, DriverChoice, ReuseOptions, Sent
    from aibemu.submission.request import Document, TemplateRequest

    here = Path.cwd()
    document = Document(text=agent.template(image, target), name="agent.json", base=here)
    return BuildOptions(
        template=TemplateRequest(document=document, folder=here), subscription_id=settings.subscription_id,
        resource_group=settings.resource_group, driver=DriverChoice(name=settings.driver),
        reuse=ReuseOptions(freeze=False), on_error=OnErrorMode.CLEANUP,
        sent=Sent(digest=image.digest, source_id=f"image {image.short}"),
    )  # fmt: skip


def _taken(app: App, image: BaseImage, target: str) -> BaseImage:
    """The image that the build made, with its label; the managed image of the local cloud goes again."""
    cloud, store = LocalCloud(app.home.cloud, app.clock), store_of(app)
    found = cloud.managed_image(target)
    if found is None:
        raise BuildError(f"the build succeeded, and its image {target} is not in the local cloud")
    made = store.get(found.digest)
    store.add_labels(made.digest, {agent.LABEL: image.digest})
    cloud.remove(target)
    return store.describe(made.digest, replace(made.info, origin=f"prepare {image.short} --agent"))
