import { test } from '@jest/globals'
import { surviveRandomKills } from './random-kills.ts'

const kills = Number(process.env['BLUEPOST_KILLS'] ?? 4)
const seed = Number(process.env['BLUEPOST_SEED'] ?? Date.now() % 1_000_000)

test(
  `killed ${kills} times at random, seed ${seed}: nothing acknowledged is missing, nothing is doubled`,
  () => surviveRandomKills(kills, seed),
  120_000 + kills * 20_000,
)
