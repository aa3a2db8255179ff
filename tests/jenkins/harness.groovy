/*
 * Runs a declarative Jenkinsfile without Jenkins: `groovy harness.groovy settings.json`. Many builds may run in one JVM,
 * one after another: no class here keeps anything from one to the next.
 *
 * Steps are executed for real: `sh` in a shell, on agents that are folders, each time in a fresh, empty workspace with
 * a clone of the repository, and with nothing in the environment but what a Jenkins agent would have. What the harness
 * does not know (a step, a section, an option, an argument of one) is an error: nothing is ignored.
 *
 * Settings: jenkinsfile, repository, branch, job (a file: what the Git plugin keeps from build to build), work (a folder),
 * agents (name -> labels, environment), credentials (id -> kind file or text, value), parameters, environment, lost
 * (names of agents that die at their first `sh`), meanwhile (stage or `lost` -> a command that is run then), fail_for
 * (the job for which the step `build` fails), disabled (the job that cannot be started), restart_from (a stage), earlier (the variables of earlier builds, newest
 * first), last_successful (the commit of the last build that succeeded), approved (the script that jobDsl may run),
 * unanswered (nobody answers an `input`). The result is written to <work>/result.json,
 * what a build prints to <work>/console.txt. Of the options `retry` and `skipDefaultCheckout` are carried out, the others
 * are only checked: nothing here runs for hours, at once, or twice.
 */
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.builder.AstBuilder
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.stmt.ExpressionStatement
import org.codehaus.groovy.control.CompilePhase
import org.codehaus.groovy.control.CompilerConfiguration

import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.StandardCopyOption

class InvalidPipeline extends RuntimeException {

    InvalidPipeline(String message) { super(message) }

}

class StepFailed extends RuntimeException {

    StepFailed(String message) { super(message) }

}

class AgentLost extends RuntimeException {

    AgentLost(String message) { super(message) }

}

/** Where steps run: the stage, its agent and workspace, and the environment in force. */
class Context {

    static final ThreadLocal<Context> CURRENT = new ThreadLocal<>()
    String stage = ''
    String agent
    File workspace
    Map<String, String> environment = [:]
    Set<String> credentials = []

    Context inner(Map changes) {
        Context made = new Context(stage: stage, agent: agent, workspace: workspace,
                                   environment: new LinkedHashMap(environment), credentials: new TreeSet(credentials))
        changes.each { key, value -> made."${key}" = value }
        return made
    }

    Object around(Closure body) {
        Context outer = CURRENT.get()
        CURRENT.set(this)
        try {
            return body.call()
        } finally {
            CURRENT.set(outer)
        }
    }

}

/** What a closure of the Jenkinsfile sees: variables, functions of the Jenkinsfile, and what a subclass adds. */
class Scope {

    Engine engine
    String place

    Scope(Engine engine, String place) {
        this.engine = engine
        this.place = place
    }

    Object evaluate(Closure body) {
        Closure bound = body.clone()
        bound.delegate = this
        bound.resolveStrategy = Closure.DELEGATE_ONLY
        return bound.call()
    }

    Object propertyMissing(String name) { return engine.variable(name, place) }

    Object methodMissing(String name, Object given) {
        if (engine.script.metaClass.respondsTo(engine.script, name, *given)) {
            return engine.script.invokeMethod(name, given)
        }
        throw new InvalidPipeline("${place}: unknown: ${name}")
    }

}

/** The steps: inside `steps`, post conditions and functions of the Jenkinsfile. */
class StepScope extends Scope {

    StepScope(Engine engine, String place) { super(engine, place) }

    @Override
    Object methodMissing(String name, Object given) {
        if (engine.script.metaClass.respondsTo(engine.script, name, *given)) {
            return engine.script.invokeMethod(name, given)
        }
        return engine.step(name, given as List)
    }

}

class Call {

    String name
    Map arguments

}

/** Calls that are only collected: options, parameters, triggers. */
class CallScope extends Scope {

    Map<String, List> known
    List<Call> calls = []

    CallScope(Engine engine, String place, Map<String, List> known) {
        super(engine, place)
        this.known = known
    }

    @Override
    Object methodMissing(String name, Object given) {
        if (!known.containsKey(name)) {
            return super.methodMissing(name, given)
        }
        Map arguments = engine.arguments(name, given as List, known[name])
        Call made = new Call(name: name, arguments: arguments)
        calls.removeAll(arguments.values().flatten())
        calls.add(made)
        return made
    }

}

class EnvironmentScope extends Scope {

    Map<String, Object> values = [:]

    EnvironmentScope(Engine engine, String place) { super(engine, place) }

    void setProperty(String name, Object value) {
        if (name in ['engine', 'place', 'values']) {
            metaClass.setProperty(this, name, value)
        } else {
            values[name] = value
        }
    }

    Map credentials(String id) { return [credential: id] }

}

class WhenScope extends Scope {

    List<Boolean> found = []

    WhenScope(Engine engine, String place) { super(engine, place) }

    void beforeAgent(boolean value) { assert value }
    void expression(Closure body) { found.add(new Scope(engine, place).evaluate(body) as boolean) }
    void branch(String name) { found.add(engine.environment.BRANCH_NAME == name) }
    void changeRequest() { found.add(engine.environment.CHANGE_ID != null) }
    void not(Closure body) { found.add(!inner(body).every()) }
    void anyOf(Closure body) { found.add(inner(body).any()) }
    void allOf(Closure body) { found.add(inner(body).every()) }

    private List<Boolean> inner(Closure body) {
        WhenScope scope = new WhenScope(engine, place)
        scope.evaluate(body)
        return scope.found
    }

}

/** The sections of `pipeline` and of a stage; each may stand there once. */
class SectionScope extends Scope {

    static final List<String> PIPELINE = ['agent', 'environment', 'options', 'parameters', 'triggers', 'stages', 'post']
    static final List<String> STAGE = ['agent', 'environment', 'options', 'when', 'steps', 'stages', 'parallel', 'post']
    List<String> known
    Map<String, Object> sections = [:]
    Object none = 'none'
    Object any = 'any'

    SectionScope(Engine engine, String place, List<String> known) {
        super(engine, place)
        this.known = known
    }

    @Override
    Object methodMissing(String name, Object given) {
        if (!(name in known)) {
            throw new InvalidPipeline("${place}: unknown section: ${name}")
        }
        if (sections.containsKey(name) || given.size() != 1) {
            throw new InvalidPipeline("${place}: ${name} must stand there once, with one value")
        }
        sections[name] = given[0]
        return null
    }

    SectionScope read(Closure body) {
        evaluate(body)
        if ((known.is(STAGE) ? ['steps', 'stages', 'parallel'] : ['stages']).count { sections.containsKey(it) } != 1) {
            throw new InvalidPipeline("${place}: needs exactly one of steps, stages and parallel")
        }
        if (known.is(PIPELINE) && !sections.containsKey('agent')) {
            throw new InvalidPipeline("${place}: needs an agent")
        }
        return this
    }

}

class StagesScope extends Scope {

    List<Map> found = []

    StagesScope(Engine engine, String place) { super(engine, place) }

    void stage(String name, Closure body) {
        if (found.any { it.name == name }) {
            throw new InvalidPipeline("${place}: two stages are called ${name}")
        }
        found.add([name: name, sections: new SectionScope(engine, "stage ${name}", SectionScope.STAGE).read(body).sections])
    }

}

class PostScope extends Scope {

    // In the order in which Jenkins runs them.
    static final List<String> CONDITIONS = ['always', 'failure', 'success', 'unsuccessful', 'cleanup']
    Map<String, Closure> blocks = [:]

    PostScope(Engine engine, String place) { super(engine, place) }

    @Override
    Object methodMissing(String name, Object given) {
        if (!(name in CONDITIONS)) {
            throw new InvalidPipeline("${place}: unknown condition: ${name}")
        }
        blocks[name] = given[0]
        return null
    }

}

/** What Jenkins refuses before a build starts: anything but plain calls of steps outside `script`. */
class PlainSteps extends CodeVisitorSupport {

    @Override
    void visitMethodCallExpression(MethodCallExpression call) {
        String name = call.methodAsString
        if (name == 'script') {
            return
        }
        if (name == 'steps' || name in PostScope.CONDITIONS) {
            call.arguments.expressions.findAll { it instanceof ClosureExpression }.each { closure ->
                closure.code.statements.each { statement ->
                    if (!(statement instanceof ExpressionStatement && statement.expression instanceof MethodCallExpression)) {
                        throw new InvalidPipeline("line ${statement.lineNumber}: only steps may stand in ${name}; " +
                                                  'put other Groovy in script { }')
                    }
                }
            }
        }
        super.visitMethodCallExpression(call)
    }

}

abstract class JenkinsScript extends Script {

    Engine engine

    Object pipeline(Closure body) { return engine.pipeline(body) }
    Object methodMissing(String name, Object given) { return engine.step(name, given as List) }

}

class Parameters {

    Map<String, Object> values = [:]

    Object propertyMissing(String name) { return values[name] }
    void propertyMissing(String name, Object value) { throw new InvalidPipeline("params.${name} cannot be set") }

}

class Environment {

    Engine engine

    Object propertyMissing(String name) {
        if (engine.assigned.containsKey(name)) {
            return engine.assigned[name]
        }
        return Context.CURRENT.get()?.environment?.get(name) ?: engine.environment[name]
    }

    void propertyMissing(String name, Object value) { engine.assigned[name] = value as String }

}

class CurrentBuild {

    String displayName
    String description
    String result
    Map previousBuild

}

/** The repository as Jenkins knows it: a branch, or a commit, that is looked up anew at each checkout. */
class Git {

    String branch
    String url
    List extensions = []
    List getUserRemoteConfigs() { return [[url: url]] }

}

/**
 * What the Git plugin notes in a build, as GitSCM does it: each checkout continues what the build before noted last; a
 * commit that the build has noted already is not noted again, and its changes are told once.
 */
class BuildData {

    Map previous = [:]
    List<Map> noted = []
    List<String> changes = []
    List<String> polled = []

    void note(String branch, String commit, boolean changelog, boolean poll, Closure history) {
        if (poll) {
            polled.add(branch)
        }
        if (noted.any { it.last == commit }) {
            return
        }
        String key = branch.matches('[0-9a-f]{40}') ? 'detached' : branch
        noted.add([branches: (previous.branches ?: [:]) + [(key): commit], last: commit])
        if (changelog && previous.branches?.get(key)) {
            changes.addAll(history(previous.branches[key], commit))
        }
    }

}

class Engine {

    static final Map<String, List> OPTIONS = [
        timestamps: [], timeout: ['time', 'unit'], disableConcurrentBuilds: ['abortPrevious'],
        buildDiscarder: ['strategy'], logRotator: ['numToKeepStr', 'artifactNumToKeepStr', 'daysToKeepStr'],
        preserveStashes: ['buildCount'], skipStagesAfterUnstable: [], skipDefaultCheckout: [],
    ]
    static final Map<String, List> STAGE_OPTIONS = [
        retry: ['conditions', 'count'], agent: [], nonresumable: [], timeout: ['time', 'unit'], timestamps: [],
    ]
    static final Map<String, List> PARAMETERS = [
        string: ['name', 'defaultValue', 'trim', 'description'], booleanParam: ['name', 'defaultValue', 'description'],
        choice: ['name', 'choices', 'description'],
    ]
    static final Map<String, List> TRIGGERS = [cron: ['spec'], pollSCM: ['spec']]
    // The first argument is the one that may be given without its name.
    static final Map<String, List> STEPS = [
        sh: ['script', 'returnStdout', 'returnStatus', 'label'], echo: ['message'], error: ['message'],
        unstable: ['message'], input: ['message', 'id', 'ok', 'submitter', 'submitterParameter'],
        stash: ['name', 'includes', 'excludes', 'allowEmpty'], unstash: ['name'],
        archiveArtifacts: ['artifacts', 'fingerprint', 'allowEmptyArchive'],
        junit: ['testResults', 'allowEmptyResults'],
        publishHTML: ['target'], readFile: ['file', 'encoding'], fileExists: ['file'], cleanWs: [],
        build: ['job', 'parameters', 'propagate', 'wait', 'quietPeriod'], script: ['body'], writeFile: ['file', 'text'],
        checkout: ['scm', 'changelog', 'poll'], scmGit: ['branches', 'extensions', 'userRemoteConfigs'],
        node: ['label', 'body'], retry: ['count', 'conditions', 'body'], agent: [], nonresumable: [],
        timeout: ['time', 'unit', 'body'], parallel: ['branches'],
        withEnv: ['overrides', 'body'], withCredentials: ['bindings', 'body'], file: ['credentialsId', 'variable'],
        string: ['credentialsId', 'variable', 'name', 'value'],
        catchError: ['message', 'buildResult', 'stageResult', 'body'], flake8: ['pattern', 'id', 'name'],
        jobDsl: ['scriptText', 'removedJobAction', 'additionalParameters'],
        recordIssues: ['tools', 'enabledForFailure', 'skipBlames'], recordCoverage: ['tools', 'sourceCodeRetention'],
    ]
    static final List<String> ANYWHERE = ['echo', 'error', 'script', 'build', 'string', 'file', 'scmGit', 'node', 'retry',
                                          'agent', 'nonresumable', 'timeout', 'input', 'parallel', 'flake8', 'catchError',
                                          'unstable', 'withEnv']
    static final List<String> RESULTS = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'ABORTED']

    Map settings
    Script script
    Map<String, String> environment = [:]
    // What the Jenkinsfile assigned to `env`: it holds for the rest of the build.
    Map<String, String> assigned = [:]
    Parameters params = new Parameters()
    CurrentBuild currentBuild = new CurrentBuild()
    Git scm
    BuildData buildData
    boolean checkoutByDefault = true
    Environment env = new Environment(engine: this)
    Map report = [result: 'SUCCESS', stages: [], sh: [], archived: [], tests: [], html: [], builds: [], started: [],
                  options: [], parameters: [], triggers: [], asked: [], jobs: [], issues: [], coverage: []].asSynchronized()
    Set<String> secrets = Collections.synchronizedSet([] as Set)
    Set<String> dead = Collections.synchronizedSet([] as Set)
    File work
    PrintWriter log
    int workspaces

    Engine(Map settings) {
        this.settings = settings
        work = new File(settings.work)
        scm = new Git(branch: settings.branch, url: settings.repository)
        File job = new File(settings.job)
        buildData = new BuildData(previous: job.exists() ? new JsonSlurper().parse(job) : [:])
        File before = new File(work, 'result.json')
        if (settings.restart_from && before.exists()) {
            // "Restart from Stage" copies the variables and what was checked out, as Jenkins' FlowCopiers do.
            Map copied = new JsonSlurper().parse(before)
            assigned.putAll(copied.assigned)
            buildData.changes.addAll(copied.changes)
            buildData.polled.addAll(copied.polled)
        }
        (settings.earlier ?: []).reverse().each { variables ->
            currentBuild.previousBuild = [buildVariables: variables, previousBuild: currentBuild.previousBuild]
        }
        log = new PrintWriter(new FileWriter(new File(work, 'console.txt'), true), true)
    }

    void run() {
        File file = new File(settings.jenkinsfile)
        try {
            new AstBuilder().buildFromString(CompilePhase.CONVERSION, true, file.text).each { node ->
                if (node.respondsTo('visit')) {
                    node.visit(new PlainSteps())
                }
            }
            CompilerConfiguration configuration = new CompilerConfiguration(scriptBaseClass: JenkinsScript.name)
            script = new GroovyShell(getClass().classLoader, new Binding(env: env, params: params, currentBuild: currentBuild,
                                                                             scm: scm),
                                     configuration).parse(file)
            script.setEngine(this)
            script.run()
        } catch (InvalidPipeline invalid) {
            report.result = 'INVALID'
            report.error = invalid.message
        }
        report.putAll([displayName: currentBuild.displayName, description: currentBuild.description,
                       changes: buildData.changes, polled: buildData.polled, assigned: assigned])
        if (buildData.noted) {
            new File(settings.job).text = JsonOutput.toJson(buildData.noted.last())
        }
        new File(work, 'result.json').text = JsonOutput.prettyPrint(JsonOutput.toJson(report))
    }

    Object variable(String name, String place) {
        if (name in ['env', 'params', 'currentBuild', 'scm']) {
            return this[name]
        }
        throw new InvalidPipeline("${place}: unknown: ${name}")
    }

    /** Name the arguments of a call, and refuse those that it does not have. */
    Map arguments(String name, List given, List<String> known) {
        Map named = given && given[0] instanceof Map && name != 'parallel' ? given[0] : [:]
        List rest = named && given[0].is(named) ? given.drop(1) : given
        if (rest && rest.last() instanceof Closure && 'body' in known) {
            named = named + [body: rest.last()]
            rest = rest.init()
        }
        if (rest) {
            if (rest.size() > 1 || !known) {
                throw new InvalidPipeline("${name}: too many arguments")
            }
            named = [(known[0]): rest[0]] + named
        }
        named.keySet().each { key ->
            if (!(key in known)) {
                throw new InvalidPipeline("${name}: unknown argument: ${key}")
            }
        }
        return named
    }

    void say(String line) {
        String masked = line
        secrets.each { masked = masked.replace(it, '****') }
        log.println(masked)
    }

    void worsen(String result) {
        if (RESULTS.indexOf(result) > RESULTS.indexOf(report.result)) {
            report.result = result
        }
    }

    Object pipeline(Closure body) {
        Map sections = new SectionScope(this, 'pipeline', SectionScope.PIPELINE).read(body).sections
        environment.putAll(settings.environment ?: [:])
        ['options': OPTIONS, 'parameters': PARAMETERS, 'triggers': TRIGGERS].each { name, known ->
            if (sections[name]) {
                CallScope scope = new CallScope(this, name, known)
                scope.evaluate(sections[name])
                report[name] = scope.calls
            }
        }
        checkoutByDefault = !report.options.any { it.name == 'skipDefaultCheckout' }
        report.parameters.each { parameter ->
            Map declared = parameter.arguments
            params.values[declared.name] = declared.containsKey('choices') ? declared.choices[0] : declared.defaultValue
        }
        params.values.putAll(settings.parameters ?: [:])
        params.values.each { name, value -> environment[name] = value as String }
        Context context = new Context(environment: new LinkedHashMap(environment))
        try {
            context.around {
                within(sections, 'pipeline') { inOrder(stages(sections.stages, 'stages'), settings.restart_from) }
            }
        } catch (StepFailed | AgentLost problem) {
            say("ERROR: ${problem.message}")
            worsen('FAILURE')
        }
        return null
    }

    List<Map> stages(Closure body, String place) {
        StagesScope scope = new StagesScope(this, place)
        scope.evaluate(body)
        return scope.found
    }

    void inOrder(List<Map> all, String restartFrom = null) {
        boolean failed = false
        boolean reached = restartFrom == null
        all.each { stage ->
            reached |= stage.name == restartFrom
            if (failed || !reached) {
                report.stages.add([name: stage.name, outcome: failed ? 'SKIPPED after a failure' : 'SKIPPED by the restart'])
            } else {
                failed = runStage(stage) in ['FAILURE', 'ABORTED']
                meanwhile(stage.name)
            }
        }
        if (failed) {
            throw new StepFailed('a stage failed')
        }
    }

    void meanwhile(String event) {
        List<String> command = settings.meanwhile?.get(event)
        assert command == null || new ProcessBuilder(command).start().waitFor() == 0
    }

    /** Run a stage and return its outcome; a failure is told in the report, not thrown. */
    String runStage(Map stage) {
        Map entry = [name: stage.name, agents: []]
        synchronized (report) { report.stages.add(entry) }
        Context context = Context.CURRENT.get().inner(stage: stage.name)
        int attempts = 0
        if (stage.sections.options) {
            CallScope scope = new CallScope(this, "options of ${stage.name}", STAGE_OPTIONS)
            scope.evaluate(stage.sections.options)
            scope.calls.findAll { it.name == 'retry' }.each { call ->
                assert call.arguments.conditions*.name.contains('agent')
                attempts = call.arguments.count
            }
        }
        say("[stage ${stage.name}]")
        entry.outcome = context.around {
            if (stage.sections.when) {
                WhenScope scope = new WhenScope(this, "when of ${stage.name}")
                scope.evaluate(stage.sections.when)
                if (!scope.found.every()) {
                    return 'SKIPPED by when'
                }
            }
            while (true) {
                try {
                    within(stage.sections, stage.name, entry) { body(stage) }
                    return 'SUCCESS'
                } catch (AgentLost lost) {
                    if (--attempts < 1) {
                        throw lost
                    }
                    say("${stage.name}: ${lost.message}, trying again")
                    meanwhile('lost')
                } catch (StepFailed failed) {
                    say("ERROR: ${failed.message}")
                    worsen('FAILURE')
                    return 'FAILURE'
                } catch (InterruptedException aborted) {
                    worsen('ABORTED')
                    return 'ABORTED'
                }
            }
        }
        return entry.outcome
    }

    void body(Map stage) {
        if (stage.sections.steps) {
            new StepScope(this, "steps of ${stage.name}").evaluate(stage.sections.steps)
        } else if (stage.sections.stages) {
            inOrder(stages(stage.sections.stages, "stages of ${stage.name}"))
        } else {
            Context context = Context.CURRENT.get()
            List<String> outcomes = Collections.synchronizedList([])
            List<Throwable> problems = Collections.synchronizedList([])
            stages(stage.sections.parallel, "parallel of ${stage.name}").collect { branch ->
                Thread.start {
                    try {
                        outcomes.add(context.inner([:]).around { runStage(branch) })
                    } catch (Throwable problem) {
                        problems.add(problem)
                    }
                }
            }*.join()
            problems.each { throw it }
            if ('FAILURE' in outcomes) {
                throw new StepFailed('a parallel stage failed')
            }
        }
    }

    /** Run a body with the agent, the environment and the post conditions of a pipeline or stage. */
    void within(Map sections, String place, Map entry = null, Closure body) {
        Context context = Context.CURRENT.get()
        List<File> files = []
        if (sections.agent instanceof Closure) {
            context = allocate(sections.agent, place)
            entry?.agents?.add(context.agent)
        } else if (sections.agent != null && sections.agent != 'none') {
            throw new InvalidPipeline("${place}: agent ${sections.agent} is not one of this project: name a label")
        }
        if (sections.environment) {
            context = context.inner([:])
            EnvironmentScope scope = new EnvironmentScope(this, "environment of ${place}")
            context.around { scope.evaluate(sections.environment) }
            scope.values.each { name, value ->
                context.environment[name] = value instanceof Map ? bind(value.credential, context, files) : value as String
                if (value instanceof Map) {
                    context.credentials.add(name)
                }
            }
        }
        Throwable problem = null
        try {
            context.around(body)
        } catch (StepFailed | AgentLost | InterruptedException failed) {
            problem = failed
        }
        try {
            problem = context.around { post(sections.post, place, problem) }
        } finally {
            files*.delete()
        }
        if (problem) {
            throw problem
        }
    }

    Context allocate(Closure agent, String place) {
        CallScope scope = new CallScope(this, "agent of ${place}", [label: ['label']])
        scope.evaluate(agent)
        return allocate(scope.calls[0].arguments.label as String)
    }

    Context allocate(String label) {
        Map.Entry found = settings.agents.find { name, one -> label in one.labels && !(name in dead) }
        if (!found) {
            throw new StepFailed("no agent has the label ${label}")
        }
        File workspace = new File(work, "agents/${found.key}/workspace/build-${++workspaces}")
        workspace.mkdirs()
        Map values = Context.CURRENT.get().environment + found.value.environment + [NODE_NAME: found.key,
                                                                                     WORKSPACE: workspace.path]
        Context context = Context.CURRENT.get().inner(agent: found.key, workspace: workspace, environment: values)
        say("Running on ${found.key} in ${workspace}")
        if (checkoutByDefault) {
            context.around { step('checkout', [scm]) }
        }
        return context
    }

    String bind(String id, Context context, List<File> files) {
        Map credential = settings.credentials[id]
        if (credential == null) {
            throw new StepFailed("Could not find credentials entry with ID '${id}'")
        }
        if (credential.kind == 'text') {
            secrets.add(credential.value)
            return credential.value
        }
        File file = new File("${context.workspace}@tmp/secretFiles/${id}")
        file.parentFile.mkdirs()
        Files.copy(new File(credential.value).toPath(), file.toPath(), StandardCopyOption.REPLACE_EXISTING)
        files.add(file)
        secrets.addAll(file.readLines().findAll { it && !it.startsWith('-----') } + [file.path])
        return file.path
    }

    /** Run the post conditions that hold; return what went wrong first, before or in them. */
    Throwable post(Closure declared, String place, Throwable problem) {
        if (declared == null) {
            return problem
        }
        PostScope scope = new PostScope(this, "post of ${place}")
        scope.evaluate(declared)
        Map<String, Boolean> holds = [always: true, cleanup: true, failure: problem != null, success: problem == null,
                                      unsuccessful: problem != null]
        Throwable first = problem
        PostScope.CONDITIONS.findAll { scope.blocks[it] && holds[it] }.each { condition ->
            try {
                new StepScope(this, "${condition} of ${place}").evaluate(scope.blocks[condition])
            } catch (StepFailed | IOException failed) {
                say("Error when executing ${condition} post condition:\n" + failed.stackTrace.join('\n'))
                first = first ?: new StepFailed(failed.message)
            }
        }
        return first
    }

    Object step(String name, List given) {
        if (!STEPS.containsKey(name)) {
            throw new InvalidPipeline("unknown step: ${name}")
        }
        Map arguments = arguments(name, given, STEPS[name])
        Context context = Context.CURRENT.get()
        if (context.workspace == null && !(name in ANYWHERE)) {
            throw new InvalidPipeline("${name}: needs an agent")
        }
        if (context.agent in dead && !(name in ANYWHERE + 'sh')) {
            throw new IOException("Unable to create live FilePath for ${context.agent}")
        }
        return "step_${name}"(arguments, context)
    }

    Object step_sh(Map given, Context context) {
        if (context.agent in settings.lost) {
            dead.add(context.agent)
            throw new AgentLost("${context.agent} went away")
        }
        say("+ ${given.script}")
        File file = new File("${context.workspace}@tmp/step.sh-${Thread.currentThread().id}")
        file.parentFile.mkdirs()
        file.text = given.script
        List result = execute(context, ['sh', '-e', file.path], given.returnStdout as boolean)
        report.sh.add([stage: context.stage, agent: context.agent, script: given.script, exit: result[0],
                       commit: commit(context), credentials: context.credentials as List])
        if (given.returnStatus) {
            return result[0]
        }
        if (result[0] != 0) {
            throw new StepFailed("script returned exit code ${result[0]}")
        }
        return given.returnStdout ? result[1] : null
    }

    Object step_echo(Map given, Context context) { say(given.message as String) }
    Object step_error(Map given, Context context) { throw new StepFailed(given.message as String) }
    Object step_script(Map given, Context context) { return new StepScope(this, 'script').evaluate(given.body) }
    Object step_string(Map given, Context context) { return given }
    Object step_file(Map given, Context context) { return given }
    Object step_agent(Map given, Context context) { return 'agent' }
    Object step_nonresumable(Map given, Context context) { return 'nonresumable' }
    Object step_flake8(Map given, Context context) { return given }
    Object step_timeout(Map given, Context context) { return given.body.call() }
    Object step_recordIssues(Map given, Context context) { report.issues.addAll(given.tools) }
    Object step_recordCoverage(Map given, Context context) { report.coverage.addAll(given.tools) }

    Object step_node(Map given, Context context) {
        Context allocated = allocate(given.label as String)
        report.stages.find { it.name == context.stage }.agents.add(allocated.agent)
        return allocated.around(given.body)
    }

    Object step_retry(Map given, Context context) {
        assert 'agent' in given.conditions
        int attempts = given.count
        while (true) {
            try {
                return given.body.call()
            } catch (AgentLost lost) {
                if (--attempts < 1) {
                    throw lost
                }
                meanwhile('lost')
            }
        }
    }

    Object step_withCredentials(Map given, Context context) {
        List<File> files = []
        Context inner = context.inner([:])
        given.bindings.each { binding ->
            inner.environment[binding.variable as String] = bind(binding.credentialsId as String, context, files)
            inner.credentials.add(binding.variable as String)
        }
        try {
            return inner.around(given.body)
        } finally {
            files*.delete()
        }
    }

    Object step_withEnv(Map given, Context context) {
        Context inner = context.inner([:])
        given.overrides.each { text ->
            List<String> parts = text.split('=', 2) as List
            inner.environment[parts[0]] = parts[1]
        }
        return inner.around(given.body)
    }

    Object step_input(Map given, Context context) {
        report.asked.add([message: given.message as String, submitter: given.submitter as String, agent: context.agent])
        if (settings.unanswered) {
            throw new InterruptedException('Timeout has been exceeded')
        }
        return given.submitterParameter ? 'developer' : null
    }

    Object step_parallel(Map given, Context context) {
        int failed = given.branches.count { name, body ->
            try {
                body.call()
                return false
            } catch (StepFailed problem) {
                say("${name}: ${problem.message}")
                return true
            }
        }
        if (failed) {
            throw new StepFailed("${failed} of the parallel branches failed")
        }
    }

    Object step_catchError(Map given, Context context) {
        try {
            return given.body.call()
        } catch (StepFailed failed) {
            say("${given.message}: ${failed.message}")
            worsen(given.buildResult as String)
        }
    }

    Object step_unstable(Map given, Context context) {
        say("${given.message}")
        worsen('UNSTABLE')
    }

    Object step_jobDsl(Map given, Context context) {
        if (given.scriptText.trim() != settings.approved.trim()) {
            throw new StepFailed('script not yet approved for use')
        }
        report.jobs.add([parameters: given.additionalParameters, removed: given.removedJobAction])
    }

    Object step_writeFile(Map given, Context context) {
        File file = new File(context.workspace, given.file as String)
        file.parentFile.mkdirs()
        file.text = given.text
    }

    Object step_fileExists(Map given, Context context) { return new File(context.workspace, given.file as String).exists() }
    Object step_readFile(Map given, Context context) { return new File(context.workspace, given.file as String).text }

    Object step_scmGit(Map given, Context context) {
        assert given.branches.size() == 1 && given.userRemoteConfigs == scm.userRemoteConfigs
        return new Git(branch: given.branches[0].name, url: scm.url)
    }

    Object step_checkout(Map given, Context context) {
        Git what = given.scm
        execute(context, ['git', 'init', '--quiet', '--initial-branch', 'none'])
        // The repository is on this disk: what it holds need not be packed and copied for each stage.
        new File(context.workspace, '.git/objects/info/alternates').text = "${what.url}/.git/objects\n"
        [['fetch', '--quiet', what.url, '+refs/heads/*:refs/remotes/origin/*'],
         ['checkout', '--quiet', '--detach', what.branch.matches('[0-9a-f]{40}') ? what.branch : "origin/${what.branch}"],
        ].each { command ->
            if (execute(context, ['git'] + command)[0] != 0) {
                throw new StepFailed("git ${command[0]} failed")
            }
        }
        String found = commit(context)
        buildData.note(what.branch, found, given.changelog != false, given.poll != false) { from, to ->
            execute(context, ['git', 'log', '--reverse', '--format=%s', "${from}..${to}"], true)[1].readLines()
        }
        return [GIT_COMMIT: found, GIT_PREVIOUS_SUCCESSFUL_COMMIT: settings.last_successful]
    }

    String commit(Context context) { return execute(context, ['git', 'rev-parse', 'HEAD'], true)[1].trim() }

    Object step_cleanWs(Map given, Context context) {
        context.workspace.listFiles().each { it.directory ? it.deleteDir() : it.delete() }
    }

    Object step_stash(Map given, Context context) {
        List<String> files = match(context.workspace, given.includes as String)
        if (!files && !given.allowEmpty) {
            throw new StepFailed("No files included in stash '${given.name}'")
        }
        File folder = new File(work, "stashes/${given.name}")
        folder.deleteDir()
        copy(context.workspace, files, folder)
    }

    Object step_unstash(Map given, Context context) {
        File folder = new File(work, "stashes/${given.name}")
        if (!folder.exists()) {
            throw new StepFailed("No such saved stash '${given.name}'")
        }
        copy(folder, match(folder, '**'), context.workspace)
    }

    Object step_archiveArtifacts(Map given, Context context) {
        List<String> files = match(context.workspace, given.artifacts as String)
        if (!files && !given.allowEmptyArchive) {
            throw new StepFailed("No artifacts found that match the file pattern '${given.artifacts}'")
        }
        copy(context.workspace, files, new File(work, 'archive'))
        files.each { report.archived.add([file: it, fingerprint: given.fingerprint as boolean]) }
    }

    Object step_junit(Map given, Context context) {
        List<String> files = match(context.workspace, given.testResults as String)
        if (!files && !given.allowEmptyResults) {
            throw new StepFailed('No test report files were found. Configuration error?')
        }
        files.each { name ->
            def suites = new XmlSlurper().parse(new File(context.workspace, name))
            int failed = suites.'**'.count { it.name() in ['failure', 'error'] }
            report.tests.add([file: name, cases: suites.'**'.count { it.name() == 'testcase' }, failed: failed])
            if (failed) {
                worsen('UNSTABLE')
            }
        }
        return [failCount: report.tests.findAll { test -> test.file in files }*.failed.sum() ?: 0]
    }

    Object step_publishHTML(Map given, Context context) {
        Map target = arguments('publishHTML', [given.target], ['reportName', 'reportDir', 'reportFiles', 'keepAll',
                                                               'alwaysLinkToLastBuild', 'allowMissing'])
        File file = new File(context.workspace, "${target.reportDir}/${target.reportFiles}")
        if (file.exists()) {
            report.html.add([name: target.reportName, bytes: file.length()])
        } else if (!target.allowMissing) {
            throw new StepFailed("${file} is missing")
        }
    }

    Object step_build(Map given, Context context) {
        String job = given.job
        if (settings.disabled == job) {
            throw new IOException("Failed to trigger build of ${job - '/'}")  // as hudson.AbortException is one
        }
        String result = settings.fail_for == job ? 'FAILURE' : 'SUCCESS'
        report.builds.add(job)
        report.started.add(given.parameters ?: [])
        if (result != 'SUCCESS' && given.propagate != false) {
            throw new StepFailed("${job} completed with status ${result}")
        }
        return given.wait == false ? null : [result: result, number: 1, absoluteUrl: "http://jenkins/job/${job}/1/"]
    }

    List<String> match(File folder, String pattern) {
        List matchers = pattern.split(',').collect { FileSystems.default.getPathMatcher("glob:${it.trim()}") }
        List<String> found = []
        folder.eachFileRecurse { file ->
            def path = folder.toPath().relativize(file.toPath())
            if (file.file && matchers.any { it.matches(path) }) {
                found.add(path.toString())
            }
        }
        return found.sort()
    }

    void copy(File from, List<String> files, File to) {
        files.each { name ->
            File target = new File(to, name)
            target.parentFile.mkdirs()
            Files.copy(new File(from, name).toPath(), target.toPath(), StandardCopyOption.REPLACE_EXISTING)
        }
    }

    List execute(Context context, List<String> command, boolean keep = false) {
        ProcessBuilder builder = new ProcessBuilder(command*.toString()).directory(context.workspace)
        builder.environment().clear()
        builder.environment().putAll((context.environment + assigned).findAll { it.value != null })
        builder.redirectErrorStream(!keep)
        Process process = builder.start()
        process.outputStream.close()
        Thread errors = keep ? Thread.start { process.errorStream.eachLine { say(it) } } : null
        StringBuilder kept = new StringBuilder()
        process.inputStream.eachLine { line ->
            keep ? kept.append(line).append('\n') : say(line)
        }
        errors?.join()
        return [process.waitFor(), kept.toString()]
    }

}

new Engine(new JsonSlurper().parse(new File(args[0]))).run()
