import { anchorChains } from './anchors.ts'
import { authorityChains } from './authorities.ts'
import { bindingChains } from './bindings.ts'
import type { ChainCase } from './chain-case.ts'
import { crossingChains } from './crossings.ts'
import { dateChains } from './dates.ts'
import { nameConstraintChains } from './name-constraints.ts'
import { policyChains } from './policies.ts'
import { signatureChains } from './signatures.ts'
import { usageChains } from './usages.ts'

/** Chains good and forged by what they are about; our verdict and openssl’s are checked on the same ones. */
export const everyChain: readonly { readonly about: string; readonly cases: readonly ChainCase[] }[] = [
  { about: 'anchors and paths', cases: anchorChains() },
  { about: 'authorities certified more than once', cases: crossingChains() },
  { about: 'signatures and keys', cases: signatureChains() },
  { about: 'dates', cases: dateChains() },
  { about: 'authorities', cases: authorityChains() },
  { about: 'policies', cases: policyChains() },
  { about: 'usages', cases: usageChains() },
  { about: 'name constraints', cases: nameConstraintChains() },
  { about: 'bindings', cases: bindingChains() },
]
