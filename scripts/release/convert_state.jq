# Convert the state file of version 0.2.0, which has other names of fields and phases, to format 1.

def rename($names): with_entries(.key = ($names[.key] // .key));

{build: "build_id", content: "content_hash", digest: "image_digest"} as $image_fields
| rename($image_fields + {
    by: "started_by", candidate: "candidate_image", deadline: "analysis_deadline", ended: "completed_at",
    extended: "window_extended", opened: "analysis_started_at",
    placed: "canary_deployed", refused: "rejected_versions", since: "phase_started_at",
    slots: "previous_slots", stable: "stable_image", started: "started_at", totals: "outcome_counts",
    window: "analysis_window_seconds"
  })
| del(.last, .failures) # the last evaluation: its checks have other names, too
| .format = 1
| .phase |= ({ended: "completed", placing: "deploying", telling: "finalizing", testing: "verifying",
    watching: "analyzing"}[.] // .)
| .images |= map_values(rename($image_fields))
| .previous_slots |= map_values(rename($image_fields))
| .rejected_versions |= map(rename($image_fields + {time: "rejected_at"}))
