// The job that makes all others (plugin Job DSL). Configuration as Code runs this file, unsandboxed, as the
// administrator put it on the controller; nothing that is pushed changes it.
import org.jenkinsci.plugins.scriptsecurity.scripts.ScriptApproval
import org.jenkinsci.plugins.scriptsecurity.scripts.languages.GroovyLanguage

// Job DSL runs a script without the blanks at its ends, and what is approved is what is run.
// groovylint-disable-next-line JavaIoPackageAccess
ScriptApproval.get().preapprove(new File(JENKINS_FILES, 'project.groovy').text.trim(), GroovyLanguage.get())

folder('models') {
    description('A job for each folder of ml/projects: from raw data to a model in production.')
}

pipelineJob('push') {
    description('Checks the code that was pushed, makes a job for each project, builds those that the push touches.')
    properties {
        disableConcurrentBuilds { abortPrevious(false) }
        buildDiscarder {
            strategy {
                logRotator {
                    daysToKeepStr('')
                    numToKeepStr('50')
                    artifactDaysToKeepStr('')
                    artifactNumToKeepStr('')
                }
            }
        }
        pipelineTriggers {
            triggers {
                pollSCM { scmpoll_spec('H/15 * * * *') }
            }
        }
    }
    definition {
        cpsScm {
            lightweight true
            scriptPath 'jenkins/push.Jenkinsfile'
            scm {
                git {
                    remote { url REPOSITORY_URL }
                    branch 'main'
                    extensions { }
                }
            }
        }
    }
}
