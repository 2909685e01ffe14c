// Who may import whom: the line of rooms, walked once, no way back (README).
const rooms = [
  'intake',
  'mapping',
  'matching',
  'documents',
  'discovery',
  'trust',
  'seal',
  'edge',
  'tracking',
  'channels',
]

const onlyIn = (name, packages, folders) => ({
  name,
  severity: 'error',
  comment: `${packages.join(', ')} live in ${folders.join(', ')}`,
  from: { path: '^src/', pathNot: folders.map((folder) => `^src/${folder}`) },
  to: { path: packages.map((one) => `^node_modules/${one}/`), dependencyTypesNot: ['type-only'] },
})

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-circles',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'domain-imports-nothing',
      severity: 'error',
      from: { path: '^src/domain/' },
      to: { pathNot: '^src/domain/' },
    },
    {
      name: 'lib-knows-no-bluepost',
      severity: 'error',
      from: { path: '^src/lib/' },
      to: { path: '^src/', pathNot: '^src/lib/' },
    },
    ...rooms.map((room) => ({
      name: `${room}-stands-alone`,
      severity: 'error',
      comment: 'a room knows the domain and lib, never another room',
      from: { path: `^src/${room}/` },
      // The tests inside channel files run the mapping they describe.
      to: { path: '^src/', pathNot: `^src/(domain|lib|${room}${room === 'channels' ? '|mapping' : ''})/` },
    })),
    {
      name: 'store-knows-domain-and-lib',
      severity: 'error',
      from: { path: '^src/(store|authorizations)/' },
      to: { path: '^src/', pathNot: '^src/(domain|lib|store|authorizations)/' },
    },
    {
      name: 'jobs-know-the-store',
      severity: 'error',
      from: { path: '^src/jobs/' },
      to: { path: '^src/', pathNot: '^src/(domain|lib|store|jobs)/' },
    },
    {
      name: 'settings-know-domain-and-lib',
      severity: 'error',
      from: { path: '^src/settings(/|\\.ts$)' },
      to: { path: '^src/', pathNot: '^src/(domain|lib|settings/)' },
    },
    {
      name: 'pipeline-is-below-the-doors',
      severity: 'error',
      from: { path: '^src/pipeline/' },
      to: { path: '^src/(api|web|commands|engine|main|cli|settings)' },
    },
    {
      name: 'api-asks-pipeline-and-store',
      severity: 'error',
      from: { path: '^src/(api|web)/' },
      to: { path: '^src/', pathNot: '^src/(api|web|domain|lib|pipeline|store|authorizations)/' },
    },
    {
      name: 'nothing-imports-tests',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench)/' },
    },
    onlyIn('x509-and-cms', ['pkijs', 'asn1js'], ['trust', 'seal', 'lib']),
    onlyIn('mail-out', ['nodemailer'], ['edge']),
    onlyIn('mail-in', ['smtp-server', 'postal-mime'], ['tracking']),
    onlyIn('directories', ['ldapts'], ['discovery']),
    onlyIn('http-server', ['express', 'helmet'], ['api', 'web']),
    onlyIn('database', ['typeorm'], ['store', 'main\\.ts', 'engine', 'commands']),
    onlyIn('fhir-client', ['fhir-kit-client'], ['documents', 'intake']),
    onlyIn('jobs', ['graphile-worker'], ['jobs', 'store', 'commands']),
    { name: 'nothing-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
}
