# Input: an array of {rule, answer}. Output: the evaluation, with value, limit and outcome of each.
# No data means no promotion: whatever is not one finite number is a problem, never a pass.

def problem($text): {value: null, problem: $text};

def value:
  if type != "object" then problem("Prometheus did not answer: \(tostring)") + {unreachable: true}
  elif .status != "success" then problem("Prometheus refused: \(.error // "no reason" | tostring)") + {unreachable: true}
  elif ((.data? | objects | .result? | arrays) // null) == null then
    problem("Prometheus answered something else") + {unreachable: true}
  elif .data.result | length == 0 then problem("no data")
  elif .data.result | length > 1 then problem("more than one series")
  else .data.result[0].value[1]? as $text
    | if ($text | type) == "string" and ($text | test("^-?[0-9]+([.][0-9]+)?(e[-+]?[0-9]+)?$"))
      then {value: ($text | tonumber)}
      else problem("not a number: \($text | tostring)") end
  end;

# The limits of a rule: [["at_least", name], ...]; a guard has one of its own in the same direction.
def limits($rule):
  [$rule.labels | to_entries[] | select(.key | IN("below", "at_most", "at_least"))
   | [.key, if $kind == "guard" then $rule.labels.guard else .value end]];

def holds($value; $relation; $limit):
  if $relation == "below" then $value < $limit
  elif $relation == "at_most" then $value <= $limit
  else $value >= $limit end;

def check:
  .rule as $rule
  | (.answer | value) as $found
  | [limits($rule)[] | {relation: .[0], limit: ($settings[.[1]] | tonumber)}] as $limits
  | $found + {
      name: ($rule.record | sub("^release:"; "")),
      limit: ([$limits[] | "\(.relation | gsub("_"; " ")) \(.limit)"] | join(", ")),
      ok: ($found.value != null and all($limits[]; holds($found.value; .relation; .limit))),
      otherwise: $rule.labels.otherwise,
      evidence: ($rule.labels.evidence == "yes"),
      alone: ($rule.labels.only == "guard")
    };

def said: "\(.name) is \(.problem // (.value * 10000 | round / 10000)), must be \(.limit)";

[.[] | select(if $kind == "guard" then .rule.labels.guard else .rule.labels.only == null end) | check] as $checks
| [$checks[] | select(.ok | not)] as $failed
| all($checks[]; (.evidence | not) or .ok) as $evident
| [$failed[] | select(.value != null and .otherwise == "ABORT" and ($evident or .alone))] as $bad
| {
    kind: $kind, at: $at, window: $window,
    verdict: (if $checks == [] then "INCONCLUSIVE"
      elif $failed == [] then "PROMOTE"
      elif $bad != [] then "ABORT"
      else "INCONCLUSIVE" end),
    checks: $checks
  }
| .reason = ((if .verdict == "ABORT" then $bad else $failed end) | map(said) | join("; "))
