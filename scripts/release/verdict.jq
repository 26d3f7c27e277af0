# Compute the verdict of one evaluation. Input: an array of {rule, response}. Output: the evaluation,
# with value, limit and result of each check. A result that is not exactly one finite number is an
# error and never passes: no data means no promotion.

def invalid($text): {value: null, error: $text};

def parse_value:
  if type != "object" then invalid("Prometheus did not respond: \(tostring)") + {query_failed: true}
  elif .status != "success" then invalid("Prometheus returned an error: \(.error // "no reason" | tostring)") + {query_failed: true}
  elif ((.data? | objects | .result? | arrays) // null) == null then
    invalid("Prometheus returned an unknown format") + {query_failed: true}
  elif .data.result | length == 0 then invalid("no data")
  elif .data.result | length > 1 then invalid("more than one series")
  else .data.result[0].value[1]? as $text
    | if ($text | type) == "string" and ($text | test("^-?[0-9]+([.][0-9]+)?(e[-+]?[0-9]+)?$"))
      then {value: ($text | tonumber)}
      else invalid("not a number: \($text | tostring)") end
  end;

# The limits of a rule: [[relation, name of the setting], ...]. A guard has its own setting.
def limits($labels):
  [$labels | to_entries[] | select(.key | IN("below", "at_most", "at_least"))
   | [.key, if $kind == "guard" then $labels.guard_limit else .value end]];

def satisfies($value; $relation; $limit):
  if $relation == "below" then $value < $limit
  elif $relation == "at_most" then $value <= $limit
  else $value >= $limit end;

def check:
  .rule.labels as $labels
  | [limits($labels)[] | {relation: .[0], limit: ($settings[.[1]] | tonumber)}] as $limits
  | (.response | parse_value) as $result
  | $result + {
      name: (.rule.record | sub("^release:"; "")),
      limit: (if $labels.shown_only == "yes" then "not judged"
        else [$limits[] | "\(.relation | gsub("_"; " ")) \(.limit)"] | join(", ") end),
      passed: ($labels.shown_only == "yes" or $result.value != null and all($limits[]; satisfies($result.value; .relation; .limit))),
      on_failure: $labels.on_failure,
      prerequisite: ($labels.prerequisite == "yes"),
      guard_only: ($labels.guard_only == "yes")
    };

def describe: "\(.name) is \(.error // (.value * 10000 | round / 10000)), must be \(.limit)";

[.[] | select(if $kind == "guard" then .rule.labels.guard_limit else .rule.labels.guard_only == null end)
 | check] as $checks
| [$checks[] | select(.passed | not)] as $failed
| all($checks[]; (.prerequisite | not) or .passed) as $enough_data
| [$failed[] | select(.value != null and .on_failure == "ABORT" and ($enough_data or .guard_only))] as $aborting
| {
    kind: $kind, evaluated_at: $evaluated_at, window_seconds: $window_seconds,
    verdict: (if $checks == [] then "INCONCLUSIVE"
      elif $failed == [] then "PROMOTE"
      elif $aborting != [] then "ABORT"
      else "INCONCLUSIVE" end),
    checks: $checks
  }
| .reason = ((if .verdict == "ABORT" then $aborting else $failed end) | map(describe) | join("; "))
