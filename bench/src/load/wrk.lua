-- Arguments: requests that are pipelined, and the body of a POST. Prints one line of JSON; latencies in microseconds.
function init(args)
  if args[2] and args[2] ~= '' then
    wrk.method = 'POST'
    wrk.body = args[2]
  end
  local one = wrk.format()
  local all = string.rep(one, tonumber(args[1]))
  request = function() return all end
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"requests":%d,"failed":%d,"seconds":%f,"p50":%d,"p99":%d,"p999":%d,"max":%d}', summary.requests, failed,
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
