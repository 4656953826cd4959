// node --import ./scripts/with-addon.js: the addon that HYPERPULL_ADDON names, in the place of the one that was built last.
// Set only while binding.js is loaded: other packages' loaders, and child processes, read the same variable.
const VARIABLE = 'NAPI_RS_NATIVE_LIBRARY_PATH'

process.env[VARIABLE] = process.env.HYPERPULL_ADDON
await import('../binding.js')
delete process.env[VARIABLE]
