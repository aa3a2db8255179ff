-- Asks for passengers, and counts every answer that is none or that names two versions.
local bodies = {}
for line in io.lines(os.getenv("LOAD_ROWS")) do bodies[#bodies + 1] = line end

local threads = {}
function setup(thread)
    thread:set("failed", 0)
    thread:set("mixed", 0)
    table.insert(threads, thread)
end

local turn = 0
function request()
    turn = turn % #bodies + 1
    return wrk.format("POST", "/predict", {["Content-Type"] = "application/json"}, bodies[turn])
end

function response(status, headers, body)
    if status ~= 200 then
        failed = failed + 1
    elseif (headers["X-Model-Version"] or headers["x-model-version"]) ~= body:match('"version":(%d+)') then
        mixed = mixed + 1
    end
end

function done(summary, latency, requests)
    local failed, mixed = 0, 0
    for _, thread in ipairs(threads) do
        failed = failed + thread:get("failed")
        mixed = mixed + thread:get("mixed")
    end
    local lost = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
    io.write(string.format('{"requests": %d, "failed": %d, "lost": %d, "mixed": %d, "per_second": %.1f, "p50": %.2f, "p99": %.2f}\n',
        summary.requests, failed, lost, mixed, summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
