-- Orthanc sends every instance that it stores to radiolog, and sends it again for as long as radiolog does not take it.
--
-- Why not SendToModality(): it writes a failed transfer to Orthanc's log and forgets it. A job that has failed stays in
-- Orthanc's list of jobs, across restarts too, and can be submitted again.
--
-- While radiolog is away one job tries again every few seconds, and the others wait for its success.

local MODALITY = 'radiolog'
local PAUSE_SECONDS = 3
local NETWORK_PROTOCOL = 9  -- Orthanc's code of every failed C-STORE

local waiting = {}  -- ids of failed jobs, as keys
local probe = nil   -- the one that tries again

local function Resubmit(jobId)
  RestApiPost('/jobs/' .. jobId .. '/resubmit', '{}')
end

-- 0xA700 and all failures of the network pass; any other DIMSE status is a refusal for good, and left to a person.
local function IsWorthRepeating(job)
  local status = string.match(job['ErrorDetails'] or '', 'DIMSE status 0x(%x+)')
  return job['Type'] == 'DicomModalityStore' and job['State'] == 'Failure' and job['ErrorCode'] == NETWORK_PROTOCOL
    and (status == nil or string.upper(status) == 'A700')
end

local function Probe(jobId)
  probe = jobId
  os.execute('sleep ' .. PAUSE_SECONDS)
  Resubmit(jobId)
end

function Initialize()
  for _, job in ipairs(ParseJson(RestApiGet('/jobs?expand'))) do
    if IsWorthRepeating(job) then
      Resubmit(job['ID'])
    end
  end
end

function OnStoredInstance(instanceId, tags, metadata, origin)
  RestApiPost('/modalities/' .. MODALITY .. '/store', DumpJson({
    Resources = { instanceId },
    Asynchronous = true
  }, true))
end

function OnJobFailure(jobId)
  if not IsWorthRepeating(ParseJson(RestApiGet('/jobs/' .. jobId))) then
    if jobId == probe then
      probe = next(waiting)
      if probe ~= nil then
        waiting[probe] = nil
        Resubmit(probe)
      end
    end
  elseif probe == nil or jobId == probe then
    Probe(jobId)
  else
    waiting[jobId] = true
  end
end

function OnJobSuccess(jobId)
  if jobId == probe then
    local ready = waiting
    probe, waiting = nil, {}
    for id, _ in pairs(ready) do
      Resubmit(id)
    end
  end
end
