"""The failures that a person can do something about, and what to do."""

ADVICE = {
    "radiolog.settings.SettingsError": "",
    "radiolog.stack.errors.StackError": "",
    "radiolog.log.errors.LogUnavailable": "Is Kafka up at RADIOLOG_BOOTSTRAP_SERVERS? `radiolog stack up` starts one.",
    "radiolog.log.objects.errors.ObjectStoreUnavailable": "",
    "radiolog.log.objects.garbage.Unsure": "Nothing was removed",
    "radiolog.log.errors.Fenced": "Another process has the same --ordinal; give each instance its own.",
    "radiolog.log.errors.RecordTooLarge": "",
    "radiolog.log.errors.LogError": "Are the topics there? `radiolog topics apply` makes them.",
    "radiolog.log.replay.RecordGone": "",
    "radiolog.log.retry.Overtaken": "",
    "radiolog.log.sink.SinkUnavailable": "Is PostgreSQL up at RADIOLOG_DATABASE_URL? `radiolog stack up` starts one.",
    "radiolog.services.AlreadyRunning": "",
    "radiolog.supervisor.ServiceFailed": "",
    "radiolog.demo.run.DemoFailed": "",
    "schemas.registry.RegistryUnavailable": (
        "Is a Schema Registry up at RADIOLOG_SCHEMA_REGISTRY_URL? `radiolog stack up` starts one."
    ),
    "schemas.registry.RegistryError": "",
    "sinks.errors.DatabaseRefused": "",
    "sinks.migrate.MigrationFailed": "Is PostgreSQL up at RADIOLOG_DATABASE_URL? `radiolog stack up` starts one.",
    "models.bundle.BundleError": "",
    "models.openvino_runtime.EngineMissing": "",
    "radiolog.demo.samples.SampleMissing": "",
    "producers.device.DeviceError": "",
    "producers.simulator_archive.SourceError": "",
    "producers.wrapping.WrappingUnavailable": "Nothing is wrong with the picture; is memory short?",
    "training.archive.errors.ArchiveError": "",
    "training.config.ConfigError": "",
    "training.evaluation.source.EvaluationError": "",
    "training.examples.SliceChanged": "",
    "training.fetch.FetchError": "",
    "training.findings.FindingError": "",
    "training.manifest.ManifestError": "",
    "training.pixel_file.PixelFileError": "Make it from the log again",
    "training.replay.ReplayError": "Put a labelled data set on the log with `radiolog data import`",
    "training.errors.TrainingError": "",
    "training.assemble.GateError": "",
}
"""By class, named in text so that a command which does not use a module does not import it either."""


def explain(error: Exception) -> str | None:
    """One line that says what went wrong and what to do; None for what nobody expected."""
    for kind in type(error).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in ADVICE:
            return ". ".join(part for part in (str(error).strip().rstrip("."), ADVICE[name]) if part)
    return None
