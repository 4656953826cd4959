// npm run build: the addon and the facade, and what they need to be built with.
import { build, install } from './steps.js'

install()
build()
