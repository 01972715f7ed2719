"""The name and help text of every metric in a scrape."""

from __future__ import annotations

from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HELP: Mapping[str, str] = {
    "recvault_last_success_timestamp_seconds": "End of the last complete scan of an account's list.",
    "recvault_watermark_timestamp_seconds": "Every recording that the provider lists with an earlier date is "
    "registered.",
    "recvault_watermark_lag_seconds": (
        "Distance from the watermark to now. It also grows on a quiet account; alert on recvault_source_stale instead."
    ),
    "recvault_last_archived_timestamp_seconds": "Time at which a recording of the account was last archived.",
    "recvault_recordings": (
        "Recordings by current state, each counted once. pending: not failed so far; failing: will be retried; "
        "not_ready: unfinished at the provider; dead: given up; accepted: accepted as lost by the operator; "
        "quarantined: a row that cannot be read."
    ),
    "recvault_oldest_pending_age_seconds": "Age of the oldest recording that is not archived yet; 0 if there is none.",
    "recvault_oldest_waiting_age_seconds": (
        "Longest wait of a recording that is ready to be archived; 0 if there is none."
    ),
    "recvault_oldest_transfer_age_seconds": ("Run time of the oldest transfer in progress; 0 if there is none."),
    "recvault_next_attempt_timestamp_seconds": "Time at which the next recording of the account is due.",
    "recvault_source_condition": (
        "1 for the account's current condition (ok, new, slow, attention, failing, stale), 0 for the others; "
        "`recvault status` says why."
    ),
    "recvault_source_stale": (
        "1 if for stale_after an account had no complete scan, or archived nothing although recordings wait."
    ),
    "recvault_source_quiet": (
        "1 if for quiet_after of time in which an account normally has recordings it had none. 0 without quiet_after."
    ),
    "recvault_api_requests_total": "Requests to a provider's API by response status; error means no response.",
    "recvault_api_concurrency": "Current limit of concurrent requests, adapted to the provider's throttling and "
    "latency.",
    "recvault_api_concurrency_max": "Configured limit of concurrent requests (max_concurrency).",
    "recvault_trouble": (
        "1 while the bucket or the ledger (part) cannot be used; the log and /healthz say why. Meanwhile recordings "
        "wait."
    ),
    "recvault_safe": (
        "1 if nothing is lost or at risk, by the judgement of `recvault status` and /healthz; else 0. With a timer, as "
        "of the last pass."
    ),
    "recvault_risk": "1 for each kind of risk (reason) that keeps recvault_safe from 1, else 0; `recvault status` says "
    "more.",
    "recvault_stale_after_seconds": "Configured time without success after which an account is stale (stale_after).",
    "recvault_config_last_reload_successful": "1 if the last configuration reload succeeded, else 0.",
    "recvault_config_last_reload_success_timestamp_seconds": "Time at which the current configuration was loaded.",
    "recvault_scrape_error": "1 if some metrics could not be collected and are missing from this scrape.",
    "recvault_build_info": "Always 1; the label has the running version.",
    "recvault_polls_total": "Finished scans of an account's list, by result: success or the error's name.",
    "recvault_poll_duration_seconds": "Duration of scans of an account's list, successful or not.",
    "recvault_polls_skipped_total": "Polls skipped because the source's previous poll was still running.",
    "recvault_attempts_total": "Attempts to archive a recording, by resulting state.",
    "recvault_failures_total": "Failed attempts to archive a recording, by reason; `recvault failures` lists them.",
    "recvault_archived_recordings_total": "Recordings archived.",
    "recvault_archived_bytes_total": "Media bytes of archived recordings.",
    "recvault_suspect_media_total": (
        "Media archived but flagged: truncated, corrupt, or not decryptable with any configured key."
    ),
    "recvault_transfer_duration_seconds": "Duration of attempts to archive a recording, successful or not.",
    "recvault_manifests_complete_timestamp_seconds": (
        "Time at which manifests were last complete for all ended days; before the first manifest, the ledger's "
        "creation. 0 if this process writes no manifests."
    ),
    "recvault_manifest_troubles_total": "Problems found in files or earlier manifests while manifests were written.",
    "recvault_catalog_written_timestamp_seconds": (
        "Time at which the catalog was last written; before the first time, the ledger's creation. 0 if this process "
        "writes no catalog."
    ),
    "recvault_job_errors_total": "Scheduled jobs that ended with an unexpected error; see the log.",
    "recvault_pings_failed_total": "Failed pings to ping_url.",
    "recvault_hints_total": (
        "Webhooks received by hints_listen, by source and result: accepted, ignored (about nothing that is archived), "
        "replayed, refused (not verified) or dropped (too many). Source is empty if it is not known."
    ),
    "recvault_hints_followed_total": (
        "Recordings that hints named, by result: registered, hastened, known, not_found, not_wanted or failed."
    ),
    "recvault_notifications_total": (
        "Notifications by channel and result: sent, failed (will be tried again) or dropped (given up)."
    ),
    "recvault_pruned_recordings_total": "Archived recordings that were deleted at their provider (prune_after).",
    "recvault_prune_failures_total": (
        "Recordings that a prune could not delete at their provider, or runs that ended with an error; "
        "`recvault status NAME` says why."
    ),
    "recvault_reconcile_missed_recordings_total": "Recordings that polls missed and reconcile found; should be 0.",
    "recvault_reconcile_lateness_max_seconds": (
        "Longest delay between a missed recording's date and its listing; lookback should exceed it."
    ),
}
NAMES = frozenset(HELP)
"""Every family in a scrape, as named in its # TYPE line; a histogram's series add _bucket, _sum and _count."""

FEED = ("source", "account_id")
FEED_GAUGES: Mapping[str, tuple[str, ...]] = {  # the state of an account, with labels
    "recvault_last_success_timestamp_seconds": FEED,
    "recvault_watermark_timestamp_seconds": FEED,
    "recvault_watermark_lag_seconds": FEED,
    "recvault_last_archived_timestamp_seconds": FEED,
    "recvault_recordings": (*FEED, "state"),
    "recvault_oldest_pending_age_seconds": FEED,
    "recvault_oldest_waiting_age_seconds": FEED,
    "recvault_oldest_transfer_age_seconds": FEED,
    "recvault_next_attempt_timestamp_seconds": FEED,
    "recvault_source_condition": (*FEED, "condition"),
    "recvault_source_stale": FEED,
    "recvault_source_quiet": FEED,
}
